package observe

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// firstRetry is more than istiod pauses before its first try to watch again.
	firstRetry = 2 * time.Second
	// longestReturn bounds how long its watches take to come back.
	longestReturn = time.Minute
)

// Outages notes when the API server could not be reached. istiod was cut off as well, most likely, and each of its
// watches comes back by itself, up to twice as long after the outage as that had lasted: between two tries it pauses
// ever longer (k8s.io/client-go tools/cache/reflector.go: from 0.8 s, doubled up to 30 s, each up to twice as long by
// chance). Until all have come back, Envoy may learn of a route before the subset that it names. A nil one has noted
// none.
type Outages struct {
	lock    sync.Mutex
	reached bool      // once, at least
	began   time.Time // the outage that lasts; zero where there is none
	over    time.Time // when every watch has come back from the last one
}

// Wrap makes a transport to the API server report to o; it is for rest.Config.Wrap.
func (o *Outages) Wrap(next http.RoundTripper) http.RoundTripper { return reporting{o, next} }

type reporting struct {
	outages *Outages
	next    http.RoundTripper
}

func (r reporting) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	r.outages.note(err, time.Now()) // real time: it bounds a wait, and is no fact
	if err == nil {
		response.Body = &answer{ReadCloser: response.Body, outages: r.outages}
	}
	return response, err
}

// answer is a response's body, such as a watch's events.
type answer struct {
	io.ReadCloser
	outages *Outages
	closed  atomic.Bool
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.ReadCloser.Read(p)
	ended := err == nil || errors.Is(err, io.EOF)
	givenUp := errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || a.closed.Load()
	if !ended && !givenUp {
		a.outages.note(errBroken, time.Now())
	}
	return n, err
}

func (a *answer) Close() error {
	a.closed.Store(true) // a read that meets an error after this tells nothing
	return a.ReadCloser.Close()
}

// errBroken: the API server was cut off in the middle of an answer. Watches of the living one end in good order.
var errBroken = errors.New("the answer broke off")

// WrappedRoundTripper lets client-go find what it needs in the transport (k8s.io/apimachinery pkg/util/net,
// RoundTripperWrapper).
func (r reporting) WrappedRoundTripper() http.RoundTripper { return r.next }

// note is told how each request began, and of each answer that broke off. Other failures are no outage.
func (o *Outages) note(err error, now time.Time) {
	o.lock.Lock()
	defer o.lock.Unlock()
	var connecting *net.OpError
	switch {
	case err == nil && !o.began.IsZero():
		o.over = now.Add(min(firstRetry+2*now.Sub(o.began), longestReturn))
		o.reached, o.began = true, time.Time{}
	case err == nil:
		o.reached = true
	case o.began.IsZero() && (errors.Is(err, errBroken) || errors.As(err, &connecting) && connecting.Op == "dial"):
		o.began = now
		if !o.reached { // it began before this process did
			o.began = now.Add(-longestReturn)
		}
	}
}

// Back is when every watch of the API server has come back from the last outage, by a clock that says now; zero where
// there was none.
func (o *Outages) Back(now time.Time) time.Time {
	if back := o.back(); !back.IsZero() {
		return now.Add(time.Until(back))
	}
	return time.Time{}
}

func (o *Outages) back() time.Time {
	if o == nil {
		return time.Time{}
	}
	o.lock.Lock()
	defer o.lock.Unlock()
	return o.over
}
