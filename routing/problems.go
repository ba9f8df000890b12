package routing

import (
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// cast tells who plays which part behind the Service, and what is wrong with each candidate. Decide and Admit both ask here,
// so that the webhook and the controller say the same wherever both know the same. The Deployments have been placed.
func (f Facts) cast(st release.State, s Settings) release.Cast {
	behind := slices.DeleteFunc(slices.Clone(f.Deployments), func(x release.Deployment) bool { return !release.Behind(f.Service, x) })
	return release.Assign(f.Service, behind, st, f.around(st, s))
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
