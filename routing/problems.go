package routing

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/routing/settle"
)

// findRoles says who has which role behind the Service, and what is wrong with each candidate. MakePlan and Admit both
// call it, so that the controller and the webhook agree wherever both know the same.
func (x *situation) findRoles(st release.State) release.Roles {
	behind := slices.DeleteFunc(slices.Clone(x.versions), func(v *release.Version) bool { return !x.behind(v) })
	r := release.Assign(x.facts.Service, behind, st, x.around(st))
	if left := x.facts.leftOut(r, behind); left != nil {
		for _, c := range r.Candidates {
			c.Wrong = append(c.Wrong, *left)
		}
	}
	return r
}

// leftOut names the owners of pods that the Service selects but that get none of its traffic during a release: they are
// neither stable nor candidates, never were, and their pods have no version label of those.
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

func (f Facts) settlement(s Settings) settle.Settlement {
	return settle.Settlement{Now: f.Now, Settle: s.Settle, FirstSeen: f.FirstSeen}
}

func (f Facts) backend(s Settings) mesh.Backend {
	c := mesh.Config{ClusterDomain: s.ClusterDomain, RootNamespace: s.RootNamespace}
	if f.Mesh == nil {
		return mesh.None{}
	}
	return f.Mesh.For(f.Service, c)
}

// around returns the problems that a candidate has with its Service, with the mesh, and with objects of others. They
// are those of its own strategy and version, not of other candidates. Objects that appear for the host during a release
// disturb it. They keep out only candidates that have no part in it yet, or no pods yet: the owner of another namespace
// must not be able to stop an abort.
func (x *situation) around(st release.State) release.Around {
	if missing := x.mesh.InstallProblems(); len(missing) > 0 {
		return func(*release.Version, release.Member) []intent.Problem { return missing }
	}
	return func(v *release.Version, stable release.Member) []intent.Problem {
		others := slices.Concat(x.hostProblems, x.mesh.SubsetProblems(v.Label, stable.Version))
		if st.Follows(v.Name, v.Label) && !v.IsHeld() {
			others = slices.DeleteFunc(others, func(p intent.Problem) bool { return p.Reason != mesh.ReasonNameTaken })
		}
		copies := v.In(x.service()) && v.Intent.Strategy.CopiesRequests()
		return slices.Concat(x.mesh.PortProblems(copies), others)
	}
}

// findDisturbances says what the objects of others do to a running release. A disturbance keeps no candidate of the
// release from what it asks for: the owner of another namespace must not be able to stop an abort.
func (x *situation) findDisturbances() []intent.Problem {
	var out []intent.Problem
	for _, b := range x.blind {
		out = append(out, b.Problem)
	}
	if !x.pinned {
		return out
	}
	taken := slices.DeleteFunc(slices.Clone(x.hostProblems), func(p intent.Problem) bool {
		return p.Reason != mesh.ReasonHostConflict
	})
	return append(out, taken...)
}
