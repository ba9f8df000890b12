package pathauth

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Guard passes on requests whose path has its secret, with the handler's path in place of theirs. It refuses all others
// before a byte of their body is read, and those whose path could not be checked within Options.Wait.
func (a *Auth) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), a.options.Wait)
		handler, err := a.handler(ctx, r.URL.Path)
		cancel()
		if err != nil {
			http.Error(w, "the webhook configuration that has the path could not be read; ask again",
				http.StatusServiceUnavailable)
			return
		}
		if handler != "" {
			r = r.WithContext(r.Context()) // a copy
			r.URL = &url.URL{Path: handler, RawQuery: r.URL.RawQuery}
			next.ServeHTTP(w, r)
			return
		}
		a.logRefusal(r.RemoteAddr)
		// The rest of the request is not waited for, and one handshake buys no second request.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // every connection of the server has deadlines
		w.Header().Set("Connection", "close")
		http.Error(w, "only the API server is answered: the webhook configuration has told it the path", http.StatusForbidden)
	})
}
