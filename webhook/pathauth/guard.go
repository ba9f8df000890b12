package pathauth

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Guard passes requests on whose path has the secret, and replaces their path with the handler's. It refuses all others
// before it reads any of their body, and those whose path could not be checked within Options.Wait.
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
		// Do not wait for the rest of the request, and require a new handshake for each further request.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now()) // no error: the server's connections support deadlines
		w.Header().Set("Connection", "close")
		http.Error(w, "only the API server is answered: the webhook configuration has told it the path", http.StatusForbidden)
	})
}
