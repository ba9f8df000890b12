package annotator

import (
	"errors"
	"net"
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
