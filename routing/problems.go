package routing

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// cast tells who plays which part behind the Service, and what is wrong with each candidate. Decide and Admit both ask here,
// so that the webhook and the controller say the same wherever both know the same. The Deployments have been placed.
func (f Facts) cast(st release.State, s Settings) release.Cast {
	behind := slices.DeleteFunc(slices.Clone(f.Deployments), func(x release.Deployment) bool { return !release.Behind(f.Service, x) })
	c := release.Assign(f.Service, behind, st, f.around(st, s))
	if left := f.leftOut(c, behind); left != nil {
		for i := range c.Candidates {
			c.Candidates[i].Problems = append(c.Candidates[i].Problems, *left)
		}
	}
	return c
}

// leftOut names those whose pods the Service selects, and which get nothing of its traffic while a release lasts: they are
// neither stable nor candidates, have never been, and have no version label of those.
func (f Facts) leftOut(c release.Cast, behind []release.Deployment) *intent.Problem {
	if c.Stable.Deployment == "" {
		return nil
	}
	inSubset := func(version string) bool {
		return version == c.Stable.Version ||
			version != "" && slices.ContainsFunc(c.Candidates, func(x release.Candidate) bool { return x.Version == version })
	}
	member := func(name string) bool {
		return c.IsStable(name) || slices.ContainsFunc(c.Left, func(m release.Member) bool { return m.Deployment == name })
	}
	var names []string
	for _, d := range behind {
		_, annotated := d.Annotations[intent.KeyStrategy]
		if alive := d.Replicas > 0 && !d.Deleting; alive && !annotated && !member(d.Name) && !inSubset(d.TemplateLabels[release.VersionLabel]) {
			names = append(names, release.Object(f.Service.Namespace, d.Name))
		}
	}
	for _, w := range f.Workloads {
		if name := w.Kind + " " + f.Service.Namespace + "/" + w.Name; !inSubset(w.Version) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return &intent.Problem{Kind: intent.Unused, Reason: release.ReasonLeftOut,
		Message: fmt.Sprintf("Service %s/%s selects pods of %s as well, which get none of its traffic while the release lasts",
			f.Service.Namespace, f.Service.Name, release.Enumerate(names)),
		Fix: "give those pods labels that the Service does not select, or stable's version label where they serve the same (Deployments are then named together in " + intent.KeyStable + ")"}
}

// placed are the Deployments, each with where it belongs.
func (f Facts) placed() []release.Deployment {
	known := f.Services
	if !f.Service.Missing {
		known = append([]release.Service{f.Service}, known...)
	}
	out := slices.Clone(f.Deployments)
	for i := range out {
		out[i].Placed = release.Place(f.Service.Namespace, out[i], known)
	}
	return out
}

// pinned: a VirtualService of ours is there, also one whose memory is damaged.
func (f Facts) pinned() bool { return f.VirtualService != nil && istio.Ours(f.VirtualService) }

// state is what that VirtualService remembers; nothing where there is none.
func (f Facts) state() release.State {
	if !f.pinned() {
		return release.State{}
	}
	st, _ := istio.ReadState(f.VirtualService)
	return st
}

// around gives each candidate the problems that it has with its Service, with Istio, and with other people's Istio objects:
// those that its own strategy and its own version have, and no other candidate's. Objects that turn up for the host of a release
// that lasts disturb it, and keep only those out that are not in it yet or have no pods yet: the owner of another namespace must not
// be able to stop an abort.
func (f Facts) around(st release.State, s Settings) release.Around {
	if f.IstioMissing {
		return func(release.Deployment, release.Member) []intent.Problem { return []intent.Problem{istioMissing()} }
	}
	hosts := istio.HostProblems(f.Service, s.ClusterDomain, f.OtherVirtualServices, f.MeshRoutes, f.VirtualService)
	return func(d release.Deployment, stable release.Member) []intent.Problem {
		version, _ := release.VersionOf(f.Service.Namespace, f.Service.Name, d)
		others := slices.Concat(hosts,
			istio.RuleProblems(f.Service, s.ClusterDomain, f.OtherDestinationRules, s.RootNamespace, version, stable.Version))
		if st.Follows(d.Name, version) && !release.IsHeld(d) {
			others = slices.DeleteFunc(others, func(p intent.Problem) bool { return p.Reason != istio.ReasonNameTaken })
		}
		mirror := d.Placed.In(f.Service.Name) && d.Annotations[intent.KeyStrategy] == string(intent.Mirror)
		return append(istio.PortProblems(f.Service, mirror), others...)
	}
}

// hostTaken are the VirtualServices of others that hold the host of a release that lasts.
func (f Facts) hostTaken(s Settings) []intent.Problem {
	if !f.pinned() {
		return nil
	}
	problems := istio.HostProblems(f.Service, s.ClusterDomain, f.OtherVirtualServices, f.MeshRoutes, f.VirtualService)
	return slices.DeleteFunc(problems, func(p intent.Problem) bool { return p.Reason != istio.ReasonHostConflict })
}

func istioMissing() intent.Problem {
	return intent.Problem{Kind: intent.Pending, Reason: reasonIstioMissing,
		Message: "the API server does not serve networking.istio.io/v1",
		Fix:     "install Istio's custom resource definitions; routes follow by themselves"}
}

// alone says what is wrong with an annotated Deployment whatever surrounds it.
func alone(namespace string, d release.Deployment) []intent.Problem {
	_, problems := intent.Parse(release.Object(namespace, d.Name), d.Annotations)
	_, more := release.VersionOf(namespace, d.Placed.Author, d)
	return slices.Concat(problems, d.Placed.Problems, more)
}
