package observe

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestOutages(t *testing.T) {
	begin := time.Date(2026, 11, 25, 10, 0, 0, 0, time.UTC)
	refused := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	broken := &net.OpError{Op: "read", Err: errors.New("connection reset by peer")}
	type call struct {
		at  time.Duration
		err error
	}
	for what, c := range map[string]struct {
		calls []call
		want  time.Duration // since the beginning; negative for never
	}{
		"none":                      {[]call{{0, nil}, {time.Second, nil}}, -1},
		"a request that breaks off": {[]call{{0, nil}, {time.Second, broken}, {2 * time.Second, nil}}, -1},
		"an answer that breaks off": {[]call{{0, nil}, {time.Second, errBroken}, {2 * time.Second, nil}}, 6 * time.Second},
		"one that lasts":            {[]call{{0, nil}, {time.Second, refused}}, -1},
		"one of four seconds":       {[]call{{0, nil}, {time.Second, refused}, {3 * time.Second, refused}, {5 * time.Second, nil}}, 15 * time.Second},
		"requests after it":         {[]call{{0, nil}, {time.Second, refused}, {5 * time.Second, nil}, {8 * time.Second, nil}}, 15 * time.Second},
		"another one":               {[]call{{0, nil}, {1, refused}, {2, nil}, {time.Second, refused}, {2 * time.Second, nil}}, 6 * time.Second},
		"a long one":                {[]call{{0, nil}, {time.Second, refused}, {time.Hour, nil}}, time.Hour + time.Minute},
		"one of unknown length":     {[]call{{0, refused}, {time.Second, nil}}, time.Second + time.Minute},
	} {
		o := &Outages{}
		for _, call := range c.calls {
			o.note(call.err, begin.Add(call.at))
		}
		want := begin.Add(c.want)
		if c.want < 0 {
			want = time.Time{}
		}
		if got := o.back(); !got.Equal(want) {
			t.Errorf("%s: every watch is back at %s, want %s", what, got, want)
		}
	}
	var unknown *Outages
	if got := unknown.back(); !got.IsZero() {
		t.Errorf("without a transport that reports: %s", got)
	}
}

// An API server that dies in the middle of a watch is noticed, even if it is back before the next request.
func TestOutageInTheMiddleOfAnAnswer(t *testing.T) {
	end := make(chan bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		if <-end {
			panic(http.ErrAbortHandler)
		}
	}))
	defer server.Close()
	for _, broken := range []bool{false, true} {
		o := &Outages{}
		client := http.Client{Transport: o.Wrap(http.DefaultTransport)}
		response, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		read := make(chan error)
		go func() {
			_, err := io.ReadAll(response.Body)
			read <- err
		}()
		if broken {
			end <- true
		} else {
			_ = response.Body.Close() // by the one who watches
		}
		if err := <-read; err == nil {
			t.Error("the answer was whole")
		}
		o.note(nil, time.Now())
		if noticed := !o.back().IsZero(); noticed != broken {
			t.Errorf("broken off by the server: %t, noticed: %t", broken, noticed)
		}
		if !broken {
			end <- false
		}
	}
}
