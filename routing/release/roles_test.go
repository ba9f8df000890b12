package release_test

import (
	"testing"

	"grayscale.dev/grayscale/routing/release"
)

// TestRoles: which Deployments are stable and which have left, from what the release remembers and what exists.
func TestRoles(t *testing.T) {
	for _, c := range []struct {
		name, state, versions string
		stable, left          string
		promoted              bool
	}{
		{"a release that begins", "", "v1; v2 canary=10", "v1", "", false},
		{"two without a strategy", "", "v0; v1; v2 canary=10", "", "", false},
		{"two, of which one is named", "", "v0; v1; v2 canary=10 stable=v1", "v1", "", false},
		{"two, of which one declares itself", "", "v0; v1 service=reviews; v2 canary=10", "v1", "", false},
		{"one that kept its strategy when it became stable", "", "v1 canary=100 promoted; v2 canary=10", "v1", "", false},
		{"one that asks for everything and serves", "", "v1 canary=100; v2 canary=10", "v1", "", false},
		{"one that asks for everything and is held", "", "v1 canary=100 held; v2 canary=10", "", "", false},
		{"nobody but a candidate", "", "v2 canary=100", "", "", false},

		{"what is remembered comes first", "v1;v2=canary 10", "v1; v2 canary=10; v0", "v1", "", false},
		{"stable at zero: the one that serves most", "v1;v2=canary 10;v3=canary 20", "v1 zero; v2 canary=10; v3 canary=20", "v3", "v1", true},
		{"stable gone: the one that serves most", "v1;v2=canary 10;v3=canary 20", "v2 canary=10; v3 canary=20", "v3", "", true},
		{"stable gone, and nobody serves", "v1;v2=canary 10", "v2 canary=10 zero", "v1", "", false},
		{"stable at zero, but with pods on their way out", "v1;v2=canary 10", "v1 deleting; v2 canary=10", "v1", "", false},
		{"stable's name is another version's now", "v1;v2=canary 10", "v1 is=v9; v2 canary=10", "v2", "v1", true},
		{"another with stable's version stands in", "v1", "other is=v1; v2 canary=10", "other", "", false},

		{"a candidate loses its strategy: aborted", "v1;v2=canary 10", "v1; v2", "v1", "v2", false},
		{"a candidate with all traffic loses it: promoted", "v1;v2=canary 100", "v1; v2", "v2", "v1", true},
		{"an active one loses it: promoted", "v1;v2=blue-green true", "v1; v2", "v2", "v1", true},
		{"an inactive one loses it: aborted", "v1;v2=blue-green false", "v1; v2", "v1", "v2", false},
		{"one that was aborted and is gone", "v1;v2=", "v1", "v1", "", false},
		{"one that was aborted and is annotated again", "v1;v2=", "v1; v2 canary=10", "v1", "", false},
	} {
		r := release.Assign(reviews, described(t, c.versions), remembered(t, c.state), alone)
		if r.Stable.Deployment != c.stable || names(r.Left) != c.left || r.Promoted != c.promoted {
			t.Errorf("%s: stable %q, left %q, promoted %t; want %q, %q, %t",
				c.name, r.Stable.Deployment, names(r.Left), r.Promoted, c.stable, c.left, c.promoted)
		}
	}
}

// TestVersionLabel: the annotation, else the label, else the name without the Service's.
func TestVersionLabel(t *testing.T) {
	long := "reviews-"
	for range 70 {
		long += "x"
	}
	for _, c := range []struct {
		name, deployment, annotation, label, selector string
		want, reason                                  string
	}{
		{"of the name", "reviews-v2", "", "", "", "v2", ""},
		{"of another name", "other", "", "", "", "other", ""},
		{"the label", "reviews-v2", "", "v3", "", "v3", ""},
		{"the annotation", "reviews-v2", "v4", "", "", "v4", ""},
		{"both, the same", "reviews-v2", "v4", "v4", "", "v4", ""},
		{"both, different", "reviews-v2", "v4", "v3", "", "v3", release.ReasonVersionMismatch},
		{"the selector has another", "reviews-v2", "v4", "v3", "v3", "v3", release.ReasonVersionMismatch},
		{"too long a name", long, "", "", "", "", release.ReasonInvalidVersion},
		{"too long a name with an annotation", long, "v2", "", "", "v2", ""},
	} {
		d := release.Deployment{Name: c.deployment, TemplateLabels: map[string]string{"app": "reviews"}}
		if c.annotation != "" {
			d.Annotations = map[string]string{"grayscale.dev/version": c.annotation}
		}
		if c.label != "" {
			d.TemplateLabels[release.VersionLabel] = c.label
		}
		if c.selector != "" {
			d.Selector = map[string]string{release.VersionLabel: c.selector}
		}
		v := release.Parse("shop", d, []release.Service{reviews})
		reason := ""
		for _, p := range v.Problems {
			reason = p.Reason
		}
		if v.Label != c.want || reason != c.reason {
			t.Errorf("%s: %q %q, want %q %q", c.name, v.Label, reason, c.want, c.reason)
		}
	}
}
