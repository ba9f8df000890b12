package settle_test

import (
	"testing"
	"time"

	"grayscale.dev/grayscale/routing/settle"
)

// TestSettlement: a write counts from when it was recorded, or first seen, whichever is later.
func TestSettlement(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	ago := func(seconds float64) time.Time { return now.Add(-time.Duration(seconds * float64(time.Second))) }
	s := settle.Settlement{Now: now, Settle: 2 * time.Second,
		FirstSeen: settle.FirstSeen{RoutesSince: ago(1), RuleSince: ago(0.5), OtherRulesSince: ago(3)}}
	for _, c := range []struct {
		name string
		got  settle.Left
		want time.Duration
	}{
		{"routes written long ago, seen lately", s.Routes(ago(60)), time.Second},
		{"routes written lately", s.Routes(ago(0.25)), 1750 * time.Millisecond},
		{"routes without a time", s.Routes(time.Time{}), time.Second},
		{"subsets written long ago, seen lately", s.Subsets(ago(60)), 1500 * time.Millisecond},
		{"endpoints", s.Endpoints(ago(1.5)), 500 * time.Millisecond},
		{"endpoints that settled", s.Endpoints(ago(3)), -time.Second},
		{"the rules of others", s.OtherRules(), -time.Second},
		{"an announcement", s.Announced(ago(5)), settle.AnnouncedLimit - time.Second},
	} {
		if time.Duration(c.got) != c.want || c.got.Over() != (c.want <= 0) {
			t.Errorf("%s: %s left, want %s", c.name, time.Duration(c.got), c.want)
		}
	}
	if got := s.Past(now.Add(time.Hour)); !got.Equal(now) {
		t.Errorf("a time in the future counts as %s, want now", got)
	}
	if got := s.Past(ago(5)); !got.Equal(ago(5)) {
		t.Errorf("a time in the past counts as %s, want itself", got)
	}
	if left := (settle.Settlement{Now: now, Settle: 2 * time.Second}).Subsets(time.Time{}); !left.Over() {
		t.Errorf("what was seen long ago has %s left", time.Duration(left))
	}
}
