package release_test

import (
	"slices"
	"strings"
	"testing"

	"grayscale.dev/grayscale/routing/release"
)

// TestShares: which version gets what, depending on what is ready, held, about to end, and known to Envoy.
func TestShares(t *testing.T) {
	for _, c := range []struct {
		name, versions, unknown string
		want                    string // "stays: " comes first where nobody who may have the traffic can take it
	}{
		{"a canary", "v1; v2 canary=10", "", "v1=90% v2=10%"},
		{"a canary with decimals", "v1; v2 canary=0.5", "", "v1=99.5% v2=0.5%"},
		{"a canary at 100", "v1; v2 canary=100", "", "v2=100%"},
		{"a canary at 0", "v1; v2 canary=0", "", "v1=100%"},
		{"two canaries", "v1; v2 canary=10; v3 canary=20", "", "v1=70% v2=10% v3=20%"},
		{"two that share everything", "v1; v2 canary=30; v3 canary=70", "", "v2=30% v3=70%"},
		{"blue-green, inactive", "v1; v2 blue-green=false", "", "v1=100%"},
		{"blue-green, active", "v1; v2 blue-green=true", "", "v2=100%"},
		{"a mirror", "v1; v2 mirror=25", "", "v1=100% copies v2=25%"},
		{"a mirror of nothing", "v1; v2 mirror=0", "", "v1=100%"},
		{"a mirror and a canary", "v1; v2 canary=10; v3 mirror=100", "", "v1=90% v2=10% copies v3=100%"},

		{"a canary without pods", "v1; v2 canary=10 unready", "", "v1=100%"},
		{"a canary that is held", "v1; v2 canary=10 held", "", "v1=100%"},
		{"a canary that is being deleted", "v1; v2 canary=10 deleting", "", "v1=100%"},
		{"a canary that goes to zero", "v1; v2 canary=10 zero", "", "v1=100%"},
		{"a canary whose end is announced", "v1; v2 canary=10 leaving", "", "v1=100%"},
		{"a canary that Envoy does not know yet", "v1; v2 canary=10", "v2", "v1=100%"},
		{"a mirror without pods", "v1; v2 mirror=25 unready", "", "v1=100%"},
		{"a mirror that Envoy does not know yet", "v1; v2 mirror=25", "v2", "v1=100%"},

		{"stable without pods, beside a canary", "v1 unready; v2 canary=10", "", "v2=100%"},
		{"stable without pods, beside two", "v1 unready; v2 canary=10; v3 canary=20", "", "v2=33.34% v3=66.66%"},
		{"stable without pods, and nobody asks for any", "v1 unready; v2 canary=0", "", "stays: v1=100%"},
		{"stable about to go, and nobody asks for any", "v1 leaving; v2 canary=0", "", "v2=100%"},
		{"stable being deleted: the oldest takes over", "v1 deleting; v2 mirror=50; v3 canary=0", "", "v2=100% copies v2=50%"},
		{"stable being deleted, and nobody else serves", "v1 deleting; v2 canary=10 unready", "", "stays: v1=100%"},
		{"stable that Envoy does not know yet", "v1; v2 canary=10", "v1", "stays: "},
		{"nobody that Envoy knows", "v1 unready; v2 canary=0", "v1", "stays: "},
	} {
		state := remembered(t, "v1")
		roles := release.Assign(reviews, described(t, c.versions), state, alone)
		traffic, ok := release.Share(roles, func(version string) bool { return !slices.Contains(strings.Fields(c.unknown), version) })
		got := split(traffic)
		if !ok {
			got = "stays: " + got
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// TestFollowed: which intent the routes follow for a candidate that is paused, wrong, or asks for too much.
func TestFollowed(t *testing.T) {
	for _, c := range []struct {
		name, state, versions string
		want, problems        string
	}{
		{"a new weight", "v1;v2=canary 10", "v1; v2 canary=50", "v1=50% v2=50%", ""},
		{"a paused one stays", "v1;v2=canary 10", "v1; v2 canary=50 paused", "v1=90% v2=10%", ""},
		{"a paused one without a past gets nothing", "v1", "v1; v2 canary=50 paused", "v1=100%", ""},
		{"a wrong weight: the last good one stays", "v1;v2=canary 10", "v1; v2 canary=150", "v1=90% v2=10%", "v2:InvalidValue"},
		{"a wrong weight without a past", "v1", "v1; v2 canary=150", "v1=100%", "v2:InvalidValue"},
		{"another version has no past", "v1;v2=canary 10", "v1; v2 is=v3 canary=150", "v1=100%", "v2:InvalidValue"},
		{"the younger one yields", "v1", "v1; v2 canary=70; v3 canary=40", "v1=30% v2=70%", "v3:WeightConflict"},
		{"the younger one keeps what fits", "v1;v2=canary 50;v3=canary 20", "v1; v2 canary=70; v3 canary=40",
			"v1=10% v2=70% v3=20%", "v3:WeightConflict"},
		{"the younger one loses what does not", "v1;v2=canary 50;v3=canary 40", "v1; v2 canary=70; v3 canary=50",
			"v1=30% v2=70%", "v3:WeightConflict"},
		{"one that is to be active beside a canary", "v1", "v1; v2 canary=10; v3 blue-green=true", "v1=90% v2=10%", "v3:WeightConflict"},
		{"stable's version", "v1", "v1; v2 is=v1 canary=10", "v1=100%", "v2:VersionConflict"},
		{"the same version twice: the older one", "v1", "v1; v2 canary=10; v3 is=v2 canary=20", "v1=90% v2=10%", "v3:VersionConflict"},
		{"the same version twice: the one that was followed", "v1;v3=canary 20", "v1; v2 is=v3 canary=10; v3 canary=20",
			"v1=80% v3=20%", "v2:VersionConflict"},
		{"another is named stable", "v1;v2=canary 10", "v1; v2 canary=20 stable=v0", "v1=90% v2=10%", "v2:StableConflict"},
	} {
		roles := release.Assign(reviews, described(t, c.versions), remembered(t, c.state), alone)
		traffic, _ := release.Share(roles, func(string) bool { return true })
		if got := split(traffic); got != c.want || said(roles) != c.problems {
			t.Errorf("%s: %q %q, want %q %q", c.name, got, said(roles), c.want, c.problems)
		}
	}
}
