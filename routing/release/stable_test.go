package release_test

import (
	"encoding/json"
	"strings"
	"testing"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// of is a Deployment behind Service reviews with a version label and, where stable is given, a candidate that names
// these.
func of(name, version, stable string) release.Deployment {
	d := release.Deployment{Name: name, Replicas: 1, TemplateLabels: map[string]string{"app": "reviews", "version": version},
		Pods: []release.Pods{{Version: version, Ready: 1, Total: 1}}}
	if stable != "" {
		d.Annotations = map[string]string{intent.KeyStrategy: "canary", intent.KeyStable: stable}
	}
	return d
}

// TestWhoIsStable: one Deployment, or several of one version, from what a candidate names and what the release
// remembers.
func TestWhoIsStable(t *testing.T) {
	od, spot, other := of("od", "v1", ""), of("spot", "v1", ""), of("other", "v0", "")
	zero := od
	zero.Replicas, zero.Pods = 0, nil
	const one, two = `{"stable":{"deployment":"od","version":"v1"}}`, `{"stable":{"deployment":"od","version":"v1"},"also":["spot"]}`
	for _, c := range []struct {
		name        string
		state       string // as an older grayscale has written it, where it has no "also"
		deployments []release.Deployment
		want        string // who is stable; a problem's reason follows a dash
	}{
		{"both are named", "", []release.Deployment{od, spot, of("v2", "v2", "od, spot")}, "od spot"},
		{"in another order", "", []release.Deployment{od, spot, of("v2", "v2", "spot,od")}, "spot od"},
		{"their versions differ", "", []release.Deployment{od, other, of("v2", "v2", "od, other")}, "- StableConflict"},
		{"one is missing", "", []release.Deployment{od, of("v2", "v2", "od, spot")}, "- NoStable"},
		{"the candidate names itself", "", []release.Deployment{od, of("v2", "v2", "od, v2")}, "- NoStable"},
		{"an older state", one, []release.Deployment{od, of("v2", "v2", "od")}, "od"},
		{"another joins", one, []release.Deployment{od, spot, of("v2", "v2", "od, spot")}, "od spot"},
		{"one of another version does not", two, []release.Deployment{od, spot, other, of("v2", "v2", "od, other")}, "od spot - StableConflict"},
		{"one leaves", two, []release.Deployment{od, spot, of("v2", "v2", "spot")}, "spot"},
		{"the first is gone", two, []release.Deployment{spot, of("v2", "v2", "od, spot")}, "spot"},
		{"the first is at zero", two, []release.Deployment{zero, spot, of("v2", "v2", "od, spot")}, "spot"},
		{"nobody names them any more", two, []release.Deployment{od, spot}, "od spot"},
		{"the only one is gone, and one serves that nobody named", one, []release.Deployment{spot, of("v2", "v2", "")}, "spot"},
		{"all are gone", two, nil, "od spot"},
	} {
		var st release.State
		if c.state != "" {
			if err := json.Unmarshal([]byte(c.state), &st); err != nil {
				t.Fatal(err)
			}
		}
		s := release.Service{Namespace: "shop", Name: "reviews", Selector: map[string]string{"app": "reviews"}}
		roles := release.Assign(s, release.ParseAll("shop", c.deployments, []release.Service{s}), st, alone)
		got := roles.Also
		if roles.Stable.Deployment != "" {
			got = append([]string{roles.Stable.Deployment}, got...)
		}
		for _, x := range roles.Candidates {
			for _, p := range release.Blocking(x.Wrong) {
				got = append(got, "- "+p.Reason)
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: %q, want %q", c.name, text, c.want)
		}
	}
}
