package release

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
)

// stableOf tells which Deployments are stable: one, or several of one version. What the release remembers comes first; a release
// that has just begun asks the annotations and what is there. The second result is true where the stable was promoted just now.
func stableOf(s Service, byAge []Deployment, st State) ([]Member, bool, []intent.Problem) {
	if st.Stable.Deployment != "" {
		known, promoted := remembered(byAge, st)
		if len(known) > 0 && !promoted {
			known = together(s, byAge, known)
		}
		if len(known) > 0 {
			return known, promoted, nil
		}
	}
	first, problems := firstStable(s, byAge)
	if d := namesake(byAge, st.Stable); len(first) == 0 && d != nil {
		first = []*Deployment{d}
	}
	switch {
	case len(first) == 0 && st.Stable.Deployment != "":
		return st.Stables(), false, nil // gone or at zero, and nobody serves who could follow: routes stay until somebody does
	case len(first) == 0:
		return nil, false, problems
	}
	version, problems := VersionOf(s.Namespace, s.Name, *first[0])
	var out []Member
	for _, d := range first {
		out = append(out, Member{d.Name, version})
	}
	return out, false, problems
}

// together are those that are stable where a candidate names Deployments of their version: these. Where it names another version as
// well, which is a problem of its own, nothing changes.
func together(s Service, byAge []Deployment, known []Member) []Member {
	_, names := naming(s, byAge)
	var out []Member
	for _, d := range byAge {
		if !slices.Contains(names, d.Name) || d.Replicas == 0 && TotalPods(d) == 0 {
			continue
		}
		m := Member{Deployment: d.Name}
		if m.Version, _ = VersionOf(s.Namespace, s.Name, d); m.Version != known[0].Version {
			return known
		}
		out = append(out, m)
	}
	if len(out) == 0 {
		return known
	}
	first := func(m Member) int { // who is known comes first, in its order, so that nothing changes without need
		if i := slices.Index(known, m); i >= 0 {
			return i
		}
		return len(known) + slices.Index(names, m.Deployment)
	}
	slices.SortFunc(out, func(a, b Member) int { return first(a) - first(b) })
	return out
}

// remembered are those of the recorded stables that are there, or their successor: a candidate that had all traffic and lost its
// strategy, or, where stable is gone or at zero for good, whoever serves the largest share, the oldest among equals.
func remembered(byAge []Deployment, st State) ([]Member, bool) {
	for _, d := range byAge {
		h, ok := holder(st, d.Name)
		if ok && !hasStrategy(d) && h.Intent.Share() == intent.Hundred && served(st, h.Version) == intent.Hundred {
			return []Member{h.Member}, true
		}
	}
	exists := slices.DeleteFunc(st.Stables(), func(m Member) bool {
		return !slices.ContainsFunc(byAge, func(d Deployment) bool {
			return d.Name == m.Deployment && (d.Replicas > 0 || TotalPods(d) > 0) && !turnedInto(d, m)
		})
	})
	if len(exists) > 0 {
		return exists, false
	}
	for _, d := range byAge { // nobody named it, but it serves in the same subset
		if _, part := holder(st, d.Name); !part && IsPlain(d) && d.TemplateLabels[VersionLabel] == st.Stable.Version {
			exists = append(exists, Member{d.Name, st.Stable.Version})
		}
	}
	if len(exists) > 0 {
		return exists, false
	}
	var best Holder
	for _, d := range byAge {
		h, ok := holder(st, d.Name)
		if ok && live(d) && (served(st, h.Version) > 0 || anyReady(d)) && (best.Deployment == "" || served(st, h.Version) > served(st, best.Version)) {
			best = h
		}
	}
	if best.Deployment == "" {
		return nil, false
	}
	return []Member{best.Member}, true
}

// turnedInto another version: it has the member's name, but by its template's label and by all of its pods it is another,
// because it was deleted and created again, or has been rolled out while nobody looked. To label it as the member would roll
// its pods; where some still are the member's, the label is put back instead.
func turnedInto(d Deployment, m Member) bool {
	label := d.TemplateLabels[VersionLabel]
	return label != "" && label != m.Version && !slices.ContainsFunc(d.Pods, func(p Pods) bool { return p.Version == m.Version })
}

// namesake is the Deployment that took the name of a stable that is gone, whatever its annotations say.
func namesake(byAge []Deployment, gone Member) *Deployment {
	for i := range byAge {
		if byAge[i].Name == gone.Deployment && turnedInto(byAge[i], gone) {
			return &byAge[i]
		}
	}
	return nil
}

func holder(st State, deployment string) (Holder, bool) {
	for _, h := range st.Candidates {
		if h.Deployment == deployment {
			return h, true
		}
	}
	return Holder{}, false
}

// served is the share of traffic that was last written for a version.
func served(st State, version string) intent.Percent {
	for _, w := range st.Traffic.Weights {
		if w.Version == version {
			return w.Share
		}
	}
	return 0
}

// firstStable chooses the stable of a release that is about to begin: the one that a candidate names, the only live
// Deployment without a strategy (or the only one of those that declares itself with service or version), one
// that was promoted with its annotations kept, or a candidate that asks for everything and serves. Those that are released
// behind other Services come last.
func firstStable(s Service, byAge []Deployment) ([]*Deployment, []intent.Problem) {
	if !slices.ContainsFunc(byAge, func(d Deployment) bool { return IsCandidate(d) && d.Placed.In(s.Name) }) {
		return one(stableBeside(s, byAge))
	}
	if named, problems := namedStables(s, byAge); named != nil || problems != nil {
		return named, problems
	}
	own := func(d Deployment) bool { return d.Placed.In(s.Name) }
	declared := func(d Deployment) bool {
		return own(d) && (d.Annotations[intent.KeyVersion] != "" || d.Annotations[intent.KeyService] != "")
	}
	if d, problems := amongPlain(s, byAge, own, declared); d != nil || problems[0].Reason != ReasonNoStable {
		return one(d, problems)
	}
	return one(amongPlain(s, byAge, func(Deployment) bool { return true }, func(Deployment) bool { return false }))
}

func one(d *Deployment, problems []intent.Problem) ([]*Deployment, []intent.Problem) {
	if d == nil {
		return nil, problems
	}
	return []*Deployment{d}, nil
}

// stableBeside chooses the stable of a Service that no candidate is released behind: nobody has said who serves there, so that
// it has to be plain from all that are there, or from what they say of this very Service.
func stableBeside(s Service, byAge []Deployment) (*Deployment, []intent.Problem) {
	d, problems := amongPlain(s, byAge, func(Deployment) bool { return true }, func(d Deployment) bool {
		return slices.Contains(intent.Services(d.Annotations), s.Name)
	})
	for i := range problems {
		if problems[i].Reason == ReasonAmbiguousStable {
			problems[i].Key = intent.KeyService
			problems[i].Fix = fmt.Sprintf("name %q in %s on the one that serves it", s.Name, intent.KeyService)
		}
	}
	return d, problems
}

// amongPlain chooses among those that it is given by which: declared settles it where several have no strategy.
func amongPlain(s Service, byAge []Deployment, which, declared func(Deployment) bool) (*Deployment, []intent.Problem) {
	plain := pick(byAge, func(d Deployment) bool { return which(d) && IsPlain(d) })
	said := slices.DeleteFunc(slices.Clone(plain), func(d *Deployment) bool { return !declared(*d) })
	promoted := pick(byAge, func(d Deployment) bool { return which(d) && hasStrategy(d) && !IsCandidate(d) && live(d) })
	whole := pick(byAge, func(d Deployment) bool {
		asked, problems := intent.Parse("", d.Annotations)
		return which(d) && IsCandidate(d) && !IsHeld(d) && intent.Usable(problems) && asked.Share() == intent.Hundred && anyReady(d)
	})
	switch {
	case len(plain) == 1:
		return plain[0], nil
	case len(said) == 1:
		return said[0], nil
	case len(plain) > 1:
		return nil, []intent.Problem{ambiguousStable(s, plain)}
	case len(promoted) > 0:
		return promoted[len(promoted)-1], nil
	case len(whole) > 0 && len(byAge) > 1:
		return whole[0], nil
	}
	return nil, []intent.Problem{{Kind: intent.Pending, Reason: ReasonNoStable,
		Message: fmt.Sprintf("no stable Deployment is behind Service %s/%s yet", s.Namespace, s.Name),
		Fix:     "apply the Deployment that serves today, without a strategy annotation"}}
}

// IsPlain reports whether the Deployment has no strategy, and has pods or is to have some.
func IsPlain(d Deployment) bool { return !hasStrategy(d) && live(d) }

// naming is the oldest candidate that says who is stable, and the names; none where nobody does.
func naming(s Service, byAge []Deployment) (Deployment, []string) {
	for _, c := range byAge {
		if names := intent.Stables(c.Annotations); len(names) > 0 && IsCandidate(c) && c.Placed.In(s.Name) {
			return c, names
		}
	}
	return Deployment{}, nil
}

func namedStables(s Service, byAge []Deployment) ([]*Deployment, []intent.Problem) {
	c, names := naming(s, byAge)
	var out []*Deployment
	var versions []string
	for _, name := range names {
		found := pick(byAge, func(d Deployment) bool { return d.Name == name && name != c.Name })
		if len(found) == 0 {
			return nil, []intent.Problem{{Key: intent.KeyStable, Kind: intent.Pending, Reason: ReasonNoStable,
				Message: fmt.Sprintf("%s names %q in %s, which is no other Deployment behind Service %s",
					Object(s.Namespace, c.Name), name, intent.KeyStable, s.Name),
				Fix: "create it, or name the Deployment that serves today"}}
		}
		version, _ := VersionOf(s.Namespace, s.Name, *found[0])
		out, versions = append(out, found[0]), append(versions, version)
	}
	for n, version := range versions {
		if version != versions[0] {
			return nil, []intent.Problem{versionsDiffer(s, c, out[0].Name, versions[0], out[n].Name, version)}
		}
	}
	return out, nil
}

// versionsDiffer: only pods of one version can be told from the candidate's as one.
func versionsDiffer(s Service, c Deployment, a, versionA, b, versionB string) intent.Problem {
	return intent.Problem{Key: intent.KeyStable, Kind: intent.Conflict, Reason: ReasonStableConflict,
		Message: fmt.Sprintf("%s names %q and %q in %s, but the version of the one is %q, and that of the other %q",
			Object(s.Namespace, c.Name), a, b, intent.KeyStable, versionA, versionB),
		Fix: "name one of them, or give both the same version label"}
}

func ambiguousStable(s Service, plain []*Deployment) intent.Problem {
	names := make([]string, len(plain))
	for i, d := range plain {
		names[i] = d.Name
	}
	return intent.Problem{Key: intent.KeyStable, Kind: intent.Pending, Reason: ReasonAmbiguousStable,
		Message: fmt.Sprintf("%d Deployments without a strategy are behind Service %s/%s: %s",
			len(names), s.Namespace, s.Name, Enumerate(names)),
		Fix: fmt.Sprintf("name the stable one in %s on the candidate", intent.KeyStable)}
}

func pick(deployments []Deployment, want func(Deployment) bool) []*Deployment {
	var out []*Deployment
	for i := range deployments {
		if want(deployments[i]) {
			out = append(out, &deployments[i])
		}
	}
	return out
}

func hasStrategy(d Deployment) bool {
	_, ok := d.Annotations[intent.KeyStrategy]
	return ok
}

// live: it has pods or is to have some, and is not on its way out.
func live(d Deployment) bool { return !d.Deleting && (d.Replicas > 0 || TotalPods(d) > 0) }

func anyReady(d Deployment) bool {
	for _, p := range d.Pods {
		if p.Ready > 0 {
			return true
		}
	}
	return false
}

// TotalPods counts all pods of the Deployment, terminating ones included.
func TotalPods(d Deployment) int {
	n := 0
	for _, p := range d.Pods {
		n += p.Total
	}
	return n
}
