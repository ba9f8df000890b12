package routing

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Admission is a request to create or update a Deployment, and what is known around it.
type Admission struct {
	Namespace string
	// New is the Deployment as it would be stored, Old as it is stored now; nil on CREATE.
	New release.Deployment
	Old *release.Deployment
	// TemplateChanged is true on UPDATE where the pod templates of old and new object differ in anything but the version
	// label.
	TemplateChanged bool
	// Services are all Services of the namespace.
	Services []release.Service
	// Around gives what is known around one of them: the Facts that its controller would decide from now, whether the
	// Deployment is among them or not. Of its times only those of Deployments are read.
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
	// Denied are the problems that can never be right; any of them refuses the request.
	Denied []intent.Problem
	// Warnings are shown to the user; the request passes.
	Warnings []intent.Problem
}

// youngest makes the Deployment younger than all that exist: in a conflict it is the one that has to yield.
var youngest = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Admit is both halves of an admission, for previews and tests. The API server asks for one after the other.
func Admit(a Admission, s Settings) Verdict {
	v := Validate(a, s)
	if a.concerned() {
		v.Mutation = a.mutation(s)
	}
	return v
}

// Mutate is what has to be written into the Deployment. One whose own annotations are invalid is left as it is, for
// Validate to refuse.
func Mutate(a Admission, s Settings) Mutation {
	invalid := func(p intent.Problem) bool { return p.Kind == intent.Invalid }
	if !a.concerned() || !a.untouched() && slices.ContainsFunc(a.stored(versionLabel(a)).Problems, invalid) {
		return Mutation{}
	}
	return a.mutation(s)
}

// mutation asks what is around only where a hold depends on that: most updates need a label at most.
func (a Admission) mutation(s Settings) Mutation {
	m := Mutation{Version: versionLabel(a)}
	if a.mayHold() {
		v := a.stored(m.Version)
		m.Hold = unpinned(v, a.situations(v, s))
	}
	return m
}

// Validate refuses or warns; it never says what Mutate would write. It never depends on the order in which objects are
// applied: what is not there yet is a warning. What was wrong before an update and is not touched by it is a warning as
// well, so that an image can still be changed. And so is a conflict that no annotation of the Deployment causes:
// another object has to be mended, and may be a moment later.
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

// concerned reports whether there is anything to answer.
func (a Admission) concerned() bool {
	return !a.New.Deleting && (intent.Declared(a.New.Annotations) || dropsLabel(a))
}

// stored is the Deployment as it is once it is stored with a version label.
func (a Admission) stored(version string) *release.Version {
	d := withLabel(a.New, version)
	d.CreatedAt = youngest
	return release.Parse(a.Namespace, d, a.Services)
}

// dropsLabel: an update without annotations of ours that would take a version label from pods behind pinned routes.
func dropsLabel(a Admission) bool {
	return a.Old != nil && intent.Declared(a.Old.Annotations) &&
		a.Old.TemplateLabels[release.VersionLabel] != "" && a.New.TemplateLabels[release.VersionLabel] == ""
}

// versionLabel is the version label to write into the template: at creation, where an update drops it, and where an
// update rolls out new pods anyway. An update that changes annotations alone never touches the template.
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

// atCreation labels candidates and declared stables, no others.
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
		return "" // the name would be another one once the Service is there, or one is named; the controller labels it then
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

// untouched: nothing that a problem could come from is changed by this update. A version label that the template did
// not have is what versionLabel wrote into it a moment ago: the validating webhook sees it already.
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

// situations are those of the Services that the Deployment is behind, as they are once it is stored: what the
// controller reads a moment later.
func (a Admission) situations(v *release.Version, s Settings) []*situation {
	var out []*situation
	for _, name := range slices.Concat(v.Placed.Services, v.Placed.Beside) {
		if f := a.Around(name); !f.Service.Missing && f.Service.Selects(&v.Deployment) {
			f.Seen = "" // what is older than the routes tells as well what is wrong
			out = append(out, readOne(f, with(f.versions(), v), s))
		}
	}
	followEachOther(out)
	return out
}

// with are the versions once the Deployment is stored, with the pods that it has by now.
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

// problems asks the engine itself what is wrong with the Deployment among those behind its Services.
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
		wrong, disturbing := told(v, around)
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

// stableVersionChanged: the subset of a running release never changes its labels.
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

// overlap warns where the candidate's selector takes in stable's pods: an autoscaler of the one then counts the
// other's.
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

// mayHold: a Deployment is held at its creation alone, and a hold that an update drops is put back. One that runs
// already is never held.
func (a Admission) mayHold() bool {
	switch {
	case !a.New.IsCandidate():
		return false
	case a.Old == nil:
		return !a.New.SpecPaused || a.New.Annotations[intent.KeyHeld] != ""
	}
	return a.Old.IsHeld() && !a.New.IsHeld()
}

// unpinned: some Service would send the candidate requests before it is pinned to stable.
func unpinned(v *release.Version, around []*situation) bool {
	open := func(x *situation) bool { return !x.pinned && (v.In(x.service()) || x.exposes()) }
	return len(around) == 0 || len(v.Placed.Problems) > 0 || slices.ContainsFunc(around, open)
}
