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
	// firstRetry is longer than istiod's pause before it first tries to watch again.
	firstRetry = 2 * time.Second
	// longestReturn bounds how long istiod's watches take to come back.
	longestReturn = time.Minute
)

// Outages records when the API server could not be reached. Most likely istiod could not reach it either. Each of its
// watches comes back by itself, at most twice the length of the outage later, because the pauses between tries grow
// (k8s.io/client-go tools/cache/reflector.go: they start at 0.8 s, double up to 30 s, and jitter makes each up to twice
// as long). Until all watches are back, Envoy may learn of a route before the subset that it names. A nil Outages has
// recorded none.
type Outages struct {
	lock    sync.Mutex
	reached bool      // the API server has answered at least once
	began   time.Time // when the current outage began; zero where there is none
	over    time.Time // when every watch is back after the last outage
}

// Wrap makes a transport to the API server report to o. It is meant for rest.Config.Wrap.
func (o *Outages) Wrap(next http.RoundTripper) http.RoundTripper { return reporting{o, next} }

type reporting struct {
	outages *Outages
	next    http.RoundTripper
}

func (r reporting) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := r.next.RoundTrip(request)
	r.outages.note(err, time.Now()) // real time: it bounds a wait and is not part of the facts
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
	a.closed.Store(true) // later read errors say nothing about the API server
	return a.ReadCloser.Close()
}

// errBroken: the connection broke in the middle of an answer. A healthy API server ends its watches in order.
var errBroken = errors.New("the answer broke off")

// WrappedRoundTripper lets client-go find what it needs in the transport (k8s.io/apimachinery pkg/util/net,
// RoundTripperWrapper).
func (r reporting) WrappedRoundTripper() http.RoundTripper { return r.next }

// note records whether a request reached the API server, or that an answer broke off. Other failures are no outage.
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
		if !o.reached { // it may have begun long before this process did
			o.began = now.Add(-longestReturn)
		}
	}
}

// Back is when every watch of the API server is back after the last outage, by the clock that now was read from; zero
// where there was none.
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
