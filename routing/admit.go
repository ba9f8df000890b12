package routing

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Admission is a request to create or update a Deployment, with what is known around it.
type Admission struct {
	Namespace string
	// New is the Deployment as it would be stored, Old as it is stored now; nil on CREATE.
	New release.Deployment
	Old *release.Deployment
	// TemplateChanged is true on UPDATE if the old and the new pod template differ in more than the version label.
	TemplateChanged bool
	// Services are all Services of the namespace.
	Services []release.Service
	// Around returns the Facts of one of these Services, as its controller would decide from them now. The Deployment
	// of the request may be missing in them. Of their times, only the ages of Deployments matter.
	Around func(service string) Facts
}

// Mutation is what admission writes into a Deployment.
type Mutation struct {
	// Version is the value that the pod template's version label gets; empty leaves the template as it is.
	Version string
	// Hold sets spec.paused and the annotation grayscale.dev/held, so that no pod starts before the Service is pinned.
	Hold bool
}

// Verdict is the answer at admission.
type Verdict struct {
	Mutation
	// Denied are the problems that refuse the request: invalid values, and conflicts that an annotation of the
	// Deployment causes.
	Denied []intent.Problem
	// Warnings are shown to the user; they refuse nothing.
	Warnings []intent.Problem
}

// youngest is the age of the Deployment in a request, also if it has existed for long: what it conflicts with was there
// first, so the request has to yield.
var youngest = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Admit does both halves of an admission, for previews and tests. The API server calls them one after the other.
func Admit(a Admission, s Settings) Verdict {
	v := Validate(a, s)
	if a.concerned() {
		v.Mutation = a.mutation(s)
	}
	return v
}

// Mutate returns what to write into the Deployment. It leaves a Deployment with invalid annotations as it is; Validate
// refuses that one.
func Mutate(a Admission, s Settings) Mutation {
	invalid := func(p intent.Problem) bool { return p.Kind == intent.Invalid }
	if !a.concerned() || !a.untouched() && slices.ContainsFunc(a.stored(versionLabel(a)).Problems, invalid) {
		return Mutation{}
	}
	return a.mutation(s)
}

// mutation reads the situations only if a hold depends on them: most updates need at most a label.
func (a Admission) mutation(s Settings) Mutation {
	m := Mutation{Version: versionLabel(a)}
	if a.mayHold() {
		v := a.stored(m.Version)
		m.Hold = unpinned(v, a.situations(v, s))
	}
	return m
}

// Validate refuses or warns; it does not return a Mutation. It never depends on the order in which objects are applied:
// what does not exist yet is a warning. What was already wrong and is not touched by an update is a warning too, so
// that an image can still be changed. So is a conflict that no annotation of the Deployment causes: another object has
// to change, and may do so a moment later.
func Validate(a Admission, s Settings) Verdict {
	if !a.concerned() {
		return Verdict{}
	}
	var out Verdict
	v := a.stored(versionLabel(a))
	untouched := a.untouched()
	for _, p := range a.problems(v, a.situations(v, s)) {
		denies := p.Kind == intent.Invalid || p.Kind == intent.Conflict && p.Key != ""
		if denies && !untouched {
			out.Denied = append(out.Denied, p)
		} else {
			out.Warnings = append(out.Warnings, p)
		}
	}
	return out
}

// concerned reports whether grayscale has anything to do with the request.
func (a Admission) concerned() bool {
	return !a.New.Deleting && (intent.Declared(a.New.Annotations) || dropsLabel(a))
}

// stored is the Deployment of the request as it will be stored with that version label.
func (a Admission) stored(version string) *release.Version {
	d := withLabel(a.New, version)
	d.CreatedAt = youngest
	return release.Parse(a.Namespace, d, a.Services)
}

// dropsLabel: the update removes all our annotations, and with them a version label that pinned routes may rely on.
func dropsLabel(a Admission) bool {
	return a.Old != nil && intent.Declared(a.Old.Annotations) &&
		a.Old.TemplateLabels[release.VersionLabel] != "" && a.New.TemplateLabels[release.VersionLabel] == ""
}

// versionLabel is the version label to write into the template; empty for none. It is written at creation, where an
// update drops the label, and where an update rolls out new pods anyway. An update that changes only annotations never
// touches the template.
func versionLabel(a Admission) string {
	asked, label := a.New.Annotations[intent.KeyVersion], a.New.TemplateLabels[release.VersionLabel]
	want, old := "", ""
	if a.Old != nil {
		old = a.Old.TemplateLabels[release.VersionLabel]
	}
	rolls := a.TemplateChanged || label != "" && label != old
	switch {
	case a.Old == nil:
		want = atCreation(a)
	case rolls && asked != "":
		want = asked
	case label == "" && old != "":
		want = old
	case rolls && label == "":
		want = atCreation(a)
	}
	if want == label {
		return ""
	}
	return want
}

// atCreation labels candidates and declared stables, and no others.
func atCreation(a Admission) string {
	n := a.New.Annotations
	if n[intent.KeyStrategy] == "" && n[intent.KeyService] == "" && n[intent.KeyVersion] == "" {
		return ""
	}
	if asked := n[intent.KeyVersion]; asked != "" {
		return asked
	}
	v := release.Parse(a.Namespace, a.New, a.Services)
	if len(v.Placed.Services) != 1 && n[intent.KeyService] == "" {
		return "" // the label depends on the Service, which is not known yet; the controller sets it later
	}
	return v.Label
}

func withLabel(d release.Deployment, version string) release.Deployment {
	if version == "" {
		return d
	}
	labels := maps.Clone(d.TemplateLabels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[release.VersionLabel] = version
	d.TemplateLabels = labels
	return d
}

// untouched: the update changes nothing that a problem could come from. A version label that the template did not have
// before was written by Mutate a moment ago: the validating webhook already sees it.
func (a Admission) untouched() bool {
	if a.Old == nil || !maps.Equal(a.Old.Annotations, a.New.Annotations) {
		return false
	}
	before := a.Old.TemplateLabels
	if before[release.VersionLabel] == "" {
		before = withLabel(*a.Old, a.New.TemplateLabels[release.VersionLabel]).TemplateLabels
	}
	return maps.Equal(before, a.New.TemplateLabels)
}

// situations are those of the Services that the Deployment is behind, as the controller will read them once it is
// stored.
func (a Admission) situations(v *release.Version, s Settings) []*situation {
	var out []*situation
	for _, name := range slices.Concat(v.Placed.Services, v.Placed.Beside) {
		if f := a.Around(name); !f.Service.Missing && f.Service.Selects(&v.Deployment) {
			f.Seen = "" // facts that are older than the routes still show what is wrong
			out = append(out, readOne(f, with(f.versions(), v), s))
		}
	}
	syncRoles(out)
	return out
}

// with returns the versions as they are once the Deployment is stored. Its pods are those that it has now.
func with(versions []*release.Version, v *release.Version) []*release.Version {
	stored := *v
	versions = slices.DeleteFunc(versions, func(o *release.Version) bool {
		if o.Name == v.Name {
			stored.Pods = o.Pods
		}
		return o.Name == v.Name
	})
	return append(versions, &stored)
}

// problems are what the engine itself finds wrong with the Deployment among those behind its Services.
func (a Admission) problems(v *release.Version, around []*situation) []intent.Problem {
	var changed, overlaps []intent.Problem
	plays := false
	for _, x := range around {
		c := x.roles.Candidate(v.Name)
		plays = plays || c != nil
		if c != nil && !c.Beside {
			overlaps = append(overlaps, overlap(a.Namespace, v, x.roles)...)
		}
		changed = append(changed, stableVersionChanged(a, x.state)...)
	}
	if plays {
		wrong, disturbing := problemsOf(v, around)
		return slices.Concat(wrong, disturbing, unique(overlaps))
	}
	return slices.Concat(v.Problems, unique(changed))
}

func unique(problems []intent.Problem) []intent.Problem {
	var out []intent.Problem
	for _, p := range problems {
		if !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return out
}

// stableVersionChanged: the annotation asks for another version, but the labels of a subset never change during a
// release.
func stableVersionChanged(a Admission, st release.State) []intent.Problem {
	asked := a.New.Annotations[intent.KeyVersion]
	if asked == "" || !st.IsStable(a.New.Name) || st.Stable.Version == asked {
		return nil
	}
	return []intent.Problem{{Key: intent.KeyVersion, Kind: intent.Conflict, Reason: release.ReasonVersionConflict,
		Message: fmt.Sprintf("%s has %s: %q, but it is stable as version %q in a release that lasts",
			release.Object(a.Namespace, a.New.Name), intent.KeyVersion, asked, st.Stable.Version),
		Fix: "change the version once the release is finished or aborted"}}
}

// overlap warns if the candidate's selector also matches stable's pods: an autoscaler of one then counts the pods of
// the other.
func overlap(namespace string, v *release.Version, r release.Roles) []intent.Problem {
	i := slices.IndexFunc(r.Stables, func(x *release.Version) bool {
		for key, value := range v.Selector {
			if x.TemplateLabels[key] != value {
				return false
			}
		}
		return len(v.Selector) > 0
	})
	if i < 0 {
		return nil
	}
	return []intent.Problem{{Kind: intent.Unused, Reason: release.ReasonSelectorsOverlap,
		Message: fmt.Sprintf("the spec.selector of %s also matches the pods of stable %s, so autoscalers count both",
			release.Object(namespace, v.Name), release.Object(namespace, r.Stables[i].Name)),
		Fix: "give each Deployment a selector of its own, for example with the label version"}}
}

// mayHold: a candidate is held only at its creation, and a hold that an update drops is put back. A candidate that
// already runs is never held.
func (a Admission) mayHold() bool {
	switch {
	case !a.New.IsCandidate():
		return false
	case a.Old == nil:
		return !a.New.SpecPaused || a.New.Annotations[intent.KeyHeld] != ""
	}
	return a.Old.IsHeld() && !a.New.IsHeld()
}

// unpinned: some Service is not pinned to stable yet, and would send the candidate requests.
func unpinned(v *release.Version, around []*situation) bool {
	exposed := func(x *situation) bool { return !x.pinned && (v.In(x.service()) || x.exposes()) }
	return len(around) == 0 || len(v.Placed.Problems) > 0 || slices.ContainsFunc(around, exposed)
}
