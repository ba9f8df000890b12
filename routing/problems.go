package routing

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/routing/settle"
)

// roles tells who plays which role behind the Service, and what is wrong with each candidate. Decide and Admit both ask
// here, so that the webhook and the controller say the same wherever both know the same.
func (f Facts) roles(versions []*release.Version, st release.State, s Settings) release.Roles {
	behind := slices.DeleteFunc(slices.Clone(versions), func(v *release.Version) bool {
		return !f.Service.Selects(&v.Deployment)
	})
	r := release.Assign(f.Service, behind, st, f.around(st, s))
	if left := f.leftOut(r, behind); left != nil {
		for _, c := range r.Candidates {
			c.Wrong = append(c.Wrong, *left)
		}
	}
	return r
}

// leftOut names those whose pods the Service selects, and which get nothing of its traffic while a release lasts: they are
// neither stable nor candidates, have never been, and have no version label of those.
func (f Facts) leftOut(r release.Roles, behind []*release.Version) *intent.Problem {
	if r.Stable.Deployment == "" {
		return nil
	}
	inSubset := func(version string) bool {
		labelled := func(c *release.Candidate) bool { return c.Label == version }
		return version == r.Stable.Version || version != "" && slices.ContainsFunc(r.Candidates, labelled)
	}
	var names []string
	for _, v := range behind {
		alive, member := v.Replicas > 0 && !v.Deleting, r.IsStable(v.Name) || r.HasLeft(v.Name)
		if alive && !v.HasStrategy() && !member && !inSubset(v.TemplateLabels[release.VersionLabel]) {
			names = append(names, release.Object(f.Service.Namespace, v.Name))
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
		Message: fmt.Sprintf(
			"Service %s/%s selects pods of %s as well, which get none of its traffic while the release lasts",
			f.Service.Namespace, f.Service.Name, release.Enumerate(names)),
		Fix: "give those pods labels that the Service does not select, or stable's version label where they serve the same" +
			" (Deployments are then named together in " + intent.KeyStable + ")"}
}

// versions are the Deployments, each parsed once.
func (f Facts) versions() []*release.Version {
	return release.ParseAll(f.Service.Namespace, f.Deployments, f.knownServices())
}

func (f Facts) knownServices() []release.Service {
	if f.Service.Missing {
		return f.Services
	}
	return append([]release.Service{f.Service}, f.Services...)
}

// settlement is how far the mesh has come.
func (f Facts) settlement(s Settings) settle.Settlement {
	return settle.Settlement{Now: f.Now, Settle: s.Settle, FirstSeen: f.FirstSeen}
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
		return func(*release.Version, release.Member) []intent.Problem { return []intent.Problem{istioMissing()} }
	}
	hosts := istio.HostProblems(f.Service, s.ClusterDomain, f.OtherVirtualServices, f.MeshRoutes, f.VirtualService)
	return func(v *release.Version, stable release.Member) []intent.Problem {
		others := slices.Concat(hosts, istio.RuleProblems(f.Service, s.ClusterDomain, f.OtherDestinationRules,
			s.RootNamespace, v.Label, stable.Version))
		if st.Follows(v.Name, v.Label) && !v.IsHeld() {
			others = slices.DeleteFunc(others, func(p intent.Problem) bool { return p.Reason != istio.ReasonNameTaken })
		}
		copies := v.In(f.Service.Name) && v.Intent.Strategy.CopiesRequests()
		return append(istio.PortProblems(f.Service, copies), others...)
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
