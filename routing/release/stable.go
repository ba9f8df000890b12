package release

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
)

// stable decides which Deployments are stable: one, or several of one version. What the release remembers comes first.
// A new release is decided from the annotations and from the Deployments that exist. Only the fields about stable are
// set in the Roles.
func (b behind) stable() (Roles, []intent.Problem) {
	members, promoted := b.remembered()
	if len(members) > 0 {
		if !promoted {
			members = b.together(members)
		}
		return b.roles(members, promoted), nil
	}
	first, problems := b.firstStable()
	if v := b.namesake(); len(first) == 0 && v != nil {
		first = []*Version{v}
	}
	switch {
	case len(first) == 0 && b.state.Stable.Deployment != "":
		// Stable is gone or at zero, and nothing that serves could succeed it: routes stay until something does.
		return b.roles(b.state.Stables(), false), nil
	case len(first) == 0:
		return Roles{}, problems
	}
	for _, v := range first {
		members = append(members, Member{v.Name, first[0].Label})
	}
	return b.roles(members, false), first[0].mislabelled
}

// roles are the Roles with only stable set; the first member comes first.
func (b behind) roles(members []Member, promoted bool) Roles {
	r := Roles{Promoted: promoted}
	for n, m := range members {
		if n == 0 {
			r.Stable = m
		} else {
			r.Also = append(r.Also, m.Deployment)
		}
		if v := b.named(m.Deployment); v != nil {
			r.Stables = append(r.Stables, v)
		}
	}
	return r
}

// remembered are the recorded stables that still exist, or their successor: a candidate that had all traffic and lost
// its strategy, or one that serves after stable is gone or at zero.
func (b behind) remembered() (members []Member, promoted bool) {
	if b.state.Stable.Deployment == "" {
		return nil, false
	}
	for _, v := range b.byAge {
		g, ok := b.state.Known(v.Name)
		if ok && !v.HasStrategy() && g.Intent.Share() == intent.Hundred && b.state.served(g.Version) == intent.Hundred {
			return []Member{g.Member}, true
		}
	}
	members = slices.DeleteFunc(b.state.Stables(), func(m Member) bool {
		v := b.named(m.Deployment)
		return v == nil || !v.exists() || v.turnedFrom(m)
	})
	if len(members) > 0 {
		return members, false
	}
	for _, v := range b.byAge { // no candidate named it, but it serves in the same subset
		_, known := b.state.Known(v.Name)
		if !known && v.IsPlain() && v.TemplateLabels[VersionLabel] == b.state.Stable.Version {
			members = append(members, Member{v.Name, b.state.Stable.Version})
		}
	}
	if len(members) > 0 {
		return members, false
	}
	return b.successor()
}

// successor is the candidate with the largest share of the traffic, the oldest among equals.
func (b behind) successor() (members []Member, promoted bool) {
	var best Member
	for _, v := range b.byAge {
		g, ok := b.state.Known(v.Name)
		if !ok || !v.live() || b.state.served(g.Version) == 0 && !v.AnyReady() {
			continue
		}
		if best.Deployment == "" || b.state.served(g.Version) > b.state.served(best.Version) {
			best = g.Member
		}
	}
	if best.Deployment == "" {
		return nil, false
	}
	return []Member{best}, true
}

// together are the Deployments that are stable if a candidate names several. They must all have the version of the
// known stables. If the candidate also names another version, which is a problem of its own, the known ones stay.
func (b behind) together(known []Member) []Member {
	_, names := b.naming()
	var out []Member
	for _, v := range b.byAge {
		switch {
		case !slices.Contains(names, v.Name) || !v.exists():
		case v.Label != known[0].Version:
			return known
		default:
			out = append(out, v.Member())
		}
	}
	if len(out) == 0 {
		return known
	}
	rank := func(m Member) int { // the known ones come first, in their order, so that nothing changes without need
		if i := slices.Index(known, m); i >= 0 {
			return i
		}
		return len(known) + slices.Index(names, m.Deployment)
	}
	slices.SortFunc(out, func(x, y Member) int { return rank(x) - rank(y) })
	return out
}

// turnedFrom: the Deployment has the member's name but another version, by its template's label and all of its pods. It
// was deleted and created again, or was rolled out while grayscale did not run. Labelling it as the member would roll
// its pods. If some pods still have the member's version, the label is put back instead.
func (v *Version) turnedFrom(m Member) bool {
	label := v.TemplateLabels[VersionLabel]
	return label != "" && label != m.Version &&
		!slices.ContainsFunc(v.Pods, func(p Pods) bool { return p.Version == m.Version })
}

// namesake is the Deployment that took the name of a stable that is gone, whatever its annotations say.
func (b behind) namesake() *Version {
	if v := b.named(b.state.Stable.Deployment); v != nil && v.turnedFrom(b.state.Stable) {
		return v
	}
	return nil
}

// firstStable chooses the stable of a release that is about to begin. It is the one that a candidate names; or the only
// live Deployment without a strategy, or the only one of those with the annotation service or version; or one that was
// promoted and kept its annotations; or a candidate that asks for all traffic and serves. Deployments that are released
// behind other Services come last.
func (b behind) firstStable() ([]*Version, []intent.Problem) {
	own := func(v *Version) bool { return v.In(b.service.Name) }
	if !slices.ContainsFunc(b.byAge, func(v *Version) bool { return v.IsCandidate() && own(v) }) {
		return one(b.stableBeside())
	}
	if named, problems := b.namedStables(); named != nil || problems != nil {
		return named, problems
	}
	declared := func(v *Version) bool {
		return own(v) && (v.Annotations[intent.KeyVersion] != "" || v.Annotations[intent.KeyService] != "")
	}
	if v, problems := b.amongPlain(own, declared); v != nil || problems[0].Reason != ReasonNoStable {
		return one(v, problems)
	}
	return one(b.amongPlain(anyVersion, func(*Version) bool { return false }))
}

func anyVersion(*Version) bool { return true }

func one(v *Version, problems []intent.Problem) ([]*Version, []intent.Problem) {
	if v == nil {
		return nil, problems
	}
	return []*Version{v}, nil
}

// stableBeside chooses the stable of a Service that no candidate is released behind. No candidate names its stable, so
// that must be clear from the Deployments that exist, or from those whose annotation names this Service.
func (b behind) stableBeside() (*Version, []intent.Problem) {
	v, problems := b.amongPlain(anyVersion, func(v *Version) bool { return v.Names(b.service.Name) })
	for i := range problems {
		if problems[i].Reason == ReasonAmbiguousStable {
			problems[i].Key = intent.KeyService
			problems[i].Fix = fmt.Sprintf("name %q in %s on the one that serves it", b.service.Name, intent.KeyService)
		}
	}
	return v, problems
}

// amongPlain chooses among the versions that which selects. If several have no strategy, declared decides between them.
func (b behind) amongPlain(which, declared func(*Version) bool) (*Version, []intent.Problem) {
	plain := b.pick(func(v *Version) bool { return which(v) && v.IsPlain() })
	said := slices.DeleteFunc(slices.Clone(plain), func(v *Version) bool { return !declared(v) })
	promoted := b.pick(func(v *Version) bool { return which(v) && v.HasStrategy() && !v.IsCandidate() && v.live() })
	whole := b.pick(func(v *Version) bool {
		return which(v) && v.IsCandidate() && !v.IsHeld() && v.usable && v.Intent.Share() == intent.Hundred && v.AnyReady()
	})
	switch {
	case len(plain) == 1:
		return plain[0], nil
	case len(said) == 1:
		return said[0], nil
	case len(plain) > 1:
		return nil, []intent.Problem{b.ambiguousStable(plain)}
	case len(promoted) > 0:
		return promoted[len(promoted)-1], nil
	case len(whole) > 0 && len(b.byAge) > 1:
		return whole[0], nil
	}
	return nil, []intent.Problem{{Kind: intent.Pending, Reason: ReasonNoStable,
		Message: fmt.Sprintf("no stable Deployment is behind Service %s/%s yet", b.service.Namespace, b.service.Name),
		Fix:     "apply the Deployment that serves today, without a strategy annotation"}}
}

func (b behind) pick(want func(*Version) bool) []*Version {
	return slices.DeleteFunc(slices.Clone(b.byAge), func(v *Version) bool { return !want(v) })
}

// naming is the oldest candidate that names the stable Deployments, with these names; nil if none does.
func (b behind) naming() (*Version, []string) {
	for _, v := range b.byAge {
		if len(v.stables) > 0 && v.IsCandidate() && v.In(b.service.Name) {
			return v, v.stables
		}
	}
	return nil, nil
}

func (b behind) namedStables() ([]*Version, []intent.Problem) {
	by, names := b.naming()
	var out []*Version
	for _, name := range names {
		v := b.named(name)
		if v == nil || name == by.Name {
			return nil, []intent.Problem{{Key: intent.KeyStable, Kind: intent.Pending, Reason: ReasonNoStable,
				Message: fmt.Sprintf("%s names %q in %s, which is no other Deployment behind Service %s",
					b.object(by.Name), name, intent.KeyStable, b.service.Name),
				Fix: "create it, or name the Deployment that serves today"}}
		}
		out = append(out, v)
	}
	for _, v := range out {
		if v.Label != out[0].Label {
			return nil, []intent.Problem{b.versionsDiffer(by, out[0], v)}
		}
	}
	return out, nil
}

// versionsDiffer: Deployments can only be stable together if their pods have one version, because one subset holds
// them.
func (b behind) versionsDiffer(by, x, y *Version) intent.Problem {
	return intent.Problem{Key: intent.KeyStable, Kind: intent.Conflict, Reason: ReasonStableConflict,
		Message: fmt.Sprintf("%s names %q and %q in %s, but the version of the one is %q, and that of the other %q",
			b.object(by.Name), x.Name, y.Name, intent.KeyStable, x.Label, y.Label),
		Fix: "name one of them, or give both the same version label"}
}

func (b behind) ambiguousStable(plain []*Version) intent.Problem {
	names := make([]string, len(plain))
	for i, v := range plain {
		names[i] = v.Name
	}
	return intent.Problem{Key: intent.KeyStable, Kind: intent.Pending, Reason: ReasonAmbiguousStable,
		Message: fmt.Sprintf("%d Deployments without a strategy are behind Service %s/%s: %s",
			len(names), b.service.Namespace, b.service.Name, Enumerate(names)),
		Fix: fmt.Sprintf("name the stable one in %s on the candidate", intent.KeyStable)}
}
