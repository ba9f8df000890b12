package release_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

var reviews = release.Service{Namespace: "shop", Name: "reviews", Selector: map[string]string{"app": "reviews"}}

// described are Deployments behind Service reviews, written in one line: a semicolon between two, each younger than the
// one before it. First comes the version, which is the name as well; then words:
//
//	canary=10, blue-green=true, mirror=25   the strategy, with the value that moves its traffic
//	stable=v1, service=reviews              annotations
//	is=v2                                   the version label, where it is not the name
//	pods=2                                  so many are ready; all are, and one is, where nothing is said
//	unready, zero, deleting, leaving        what its pods are about
//	held, paused, promoted                  what its annotations say
func described(t *testing.T, line string) []*release.Version {
	t.Helper()
	var out []release.Deployment
	for n, text := range strings.Split(line, ";") {
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		d := release.Deployment{Name: words[0], Replicas: 1, CreatedAt: time.Unix(int64(n), 0), Annotations: map[string]string{}}
		version, ready := words[0], 1
		for _, word := range words[1:] {
			key, value, _ := strings.Cut(word, "=")
			switch key {
			case "canary", "blue-green", "mirror":
				d.Annotations[intent.KeyStrategy] = key
				d.Annotations[intent.Strategy(key).Key()] = value
			case "stable", "service", "held", "paused", "promoted":
				if value == "" {
					value = "true"
				}
				d.Annotations[intent.Prefix+key] = value
				d.SpecPaused = d.SpecPaused || key == "held"
			case "is":
				version = value
			case "pods":
				ready, _ = strconv.Atoi(value)
			case "unready":
				ready = 0
			case "zero":
				d.Replicas, ready = 0, 0
			case "deleting":
				d.Deleting = true
			case "leaving":
				d.LeavingSince = time.Unix(1, 0)
			default:
				t.Fatalf("%q is no word that Deployments are described with", word)
			}
		}
		d.TemplateLabels = map[string]string{"app": "reviews", release.VersionLabel: version}
		if ready > 0 {
			d.Pods = []release.Pods{{Version: version, Ready: ready, Total: ready}}
		}
		out = append(out, d)
	}
	return release.ParseAll("shop", out, []release.Service{reviews})
}

// remembered is a state, written in one line: the stable version, and then what is known of others, as "v2=canary 10".
func remembered(t *testing.T, line string) release.State {
	t.Helper()
	var st release.State
	if line == "" {
		return st
	}
	parts := strings.Split(line, ";")
	st.Stable = release.Member{Deployment: parts[0], Version: parts[0]}
	rest := intent.Hundred
	for _, text := range parts[1:] {
		version, asked, _ := strings.Cut(strings.TrimSpace(text), "=")
		g := release.LastGood{Member: release.Member{Deployment: version, Version: version}}
		if strategy, value, ok := strings.Cut(asked, " "); ok {
			g.Intent, _ = intent.Parse("", map[string]string{intent.KeyStrategy: strategy, intent.Strategy(strategy).Key(): value})
		}
		st.Candidates = append(st.Candidates, g)
		if share := g.Intent.Share(); share > 0 {
			st.Traffic.Weights = append(st.Traffic.Weights, release.Weight{Version: version, Share: share})
			rest -= share
		}
	}
	if rest > 0 {
		st.Traffic.Weights = append(st.Traffic.Weights, release.Weight{Version: parts[0], Share: rest})
	}
	return st
}

// said are the reasons of the problems that block each candidate, as "v2:WeightConflict".
func said(r release.Roles) string {
	var out []string
	for _, c := range r.Candidates {
		for _, p := range release.Blocking(c.Wrong) {
			out = append(out, c.Name+":"+p.Reason)
		}
	}
	return strings.Join(out, " ")
}

// split is traffic as "v1=90% v2=10% copies v3=25%".
func split(t release.Traffic) string {
	var out []string
	for _, w := range t.Weights {
		out = append(out, fmt.Sprintf("%s=%s", w.Version, w.Share))
	}
	for _, m := range t.Mirrors {
		out = append(out, fmt.Sprintf("copies %s=%s", m.Version, m.Share))
	}
	return strings.Join(out, " ")
}

// names are the Deployments of the members.
func names(members []release.Member) string {
	var out []string
	for _, m := range members {
		out = append(out, m.Deployment)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
