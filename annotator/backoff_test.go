package annotator

import (
	"testing"
	"time"
)

// Events during a wait do not make it longer: the next try comes before the time that has passed has doubled.
func TestEventsDoNotStretchAWait(t *testing.T) {
	begin := time.Unix(0, 0)
	now := begin
	p := newBackoff[string](func() time.Time { return now })
	for range 1000 { // an event every two milliseconds
		if got, most := p.When("web"), max(shortestBackoff, now.Sub(begin)); got > most {
			t.Fatalf("after %s the pause is %s, want at most %s", now.Sub(begin), got, most)
		}
		now = now.Add(2 * time.Millisecond)
	}
	if n := p.NumRequeues("web"); n != 1000 {
		t.Errorf("%d tries, want 1000", n)
	}
	if got := p.When("other"); got != shortestBackoff {
		t.Errorf("another one's first pause is %s, want %s", got, shortestBackoff)
	}
	p.Forget("web")
	if got := p.When("web"); got != shortestBackoff {
		t.Errorf("after the wait the first pause is %s, want %s", got, shortestBackoff)
	}
}

// Without events the waits double, up to longestBackoff.
func TestBackoffDoubles(t *testing.T) {
	now := time.Unix(0, 0)
	p := newBackoff[string](func() time.Time { return now })
	want := []time.Duration{10, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10240, 20480, 30000, 30000}
	for i, w := range want {
		got := p.When("web")
		if got != w*time.Millisecond {
			t.Errorf("pause %d is %s, want %s", i, got, w*time.Millisecond)
		}
		now = now.Add(got)
	}
}
