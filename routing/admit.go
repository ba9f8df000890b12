package routing

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// Admission is a Deployment at the door: what is asked, and what is known around it.
type Admission struct {
	Namespace string
	// New is the Deployment as it would be stored, Old as it is stored now; nil on CREATE.
	New release.Deployment
	Old *release.Deployment
	// TemplateChanged is true on UPDATE where the pod templates of old and new object differ in anything but the version label.
	TemplateChanged bool
	// Services are all Services of the namespace.
	Services []release.Service
	// Around gives what is known around one of them: the Facts that its controller would decide from now, whether the
	// Deployment at the door is among them or not. Of its times only those of Deployments are read.
	Around func(service string) Facts
}

// Verdict is the answer at admission.
type Verdict struct {
	// Denied are the problems that can never be right; any of them refuses the request.
	Denied []intent.Problem
	// Warnings are shown to the user; the request passes.
	Warnings []intent.Problem
	// Version is the value that the pod template's version label gets; empty leaves the template as it is.
	Version string
	// Hold sets spec.paused and the annotation grayscale.dev/held, so that no pod starts before the Service is pinned.
	Hold bool
}

// youngest makes the Deployment at the door younger than all that exist: in a conflict it is the one that has to yield.
var youngest = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// Admit answers for a Deployment at the door. It never depends on the order in which objects are applied: whatever is
// not there yet is a warning. What was wrong before an update and is not touched by it is a warning as well, so that
// an image can still be changed. And so is a conflict that no annotation of the Deployment is at fault for: it is mended in
// another object, which may be applied a moment later.
func Admit(a Admission, s Settings) Verdict {
	if a.New.Deleting || !intent.Declared(a.New.Annotations) && !dropsLabel(a) {
		return Verdict{}
	}
	v := Verdict{Version: labelAtTheDoor(a)}
	stored := withLabel(a.New, v.Version)
	stored.CreatedAt = youngest
	d := release.Parse(a.Namespace, stored, a.Services)
	parts := a.parts(d, s)
	untouched := a.untouched()
	for _, p := range a.problems(d, parts) {
		denies := p.Kind == intent.Invalid || p.Kind == intent.Conflict && p.Key != ""
		if denies && !untouched {
			v.Denied = append(v.Denied, p)
		} else {
			v.Warnings = append(v.Warnings, p)
		}
	}
	v.Hold = a.hold(d, parts)
	return v
}

// dropsLabel: an update without annotations of ours that would take a version label from pods behind pinned routes.
func dropsLabel(a Admission) bool {
	return a.Old != nil && a.Old.TemplateLabels[release.VersionLabel] != "" && a.New.TemplateLabels[release.VersionLabel] == "" &&
		intent.Declared(a.Old.Annotations)
}

// labelAtTheDoor is the version label to write into the template: at creation, where an update drops it, and where an
// update rolls out new pods anyway. An update that changes annotations alone never touches the template.
func labelAtTheDoor(a Admission) string {
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

// untouched: nothing that a problem could come from is changed by this update. A version label that the template did not
// have is what labelAtTheDoor wrote into it a moment ago: the validating webhook sees it already.
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

// parts are the Services that the Deployment is behind, as they are once it is stored.
func (a Admission) parts(d *release.Version, s Settings) []part {
	var out []part
	var alone []release.Roles
	for _, name := range slices.Concat(d.Placed.Services, d.Placed.Beside) {
		f := a.Around(name)
		if f.Service.Missing || !f.Service.Selects(&d.Deployment) {
			continue
		}
		versions := with(f.versions(), d)
		alone = append(alone, f.roles(versions, f.state(), s))
		out = append(out, part{f, versions, alone[len(alone)-1], f.disturbances(f.blind(f.OtherDestinationRules, s), s)})
	}
	for n, p := range out {
		out[n].roles = p.facts.withStableBeside(p.versions, p.roles, alone, p.facts.state(), s)
	}
	return out
}

// with are the versions once the Deployment at the door is stored, with the pods that it has by now.
func with(versions []*release.Version, d *release.Version) []*release.Version {
	stored := *d
	versions = slices.DeleteFunc(versions, func(v *release.Version) bool {
		if v.Name == d.Name {
			stored.Pods = v.Pods
		}
		return v.Name == d.Name
	})
	return append(versions, &stored)
}

// problems asks the engine itself what is wrong with the Deployment among those behind its Services.
func (a Admission) problems(d *release.Version, parts []part) []intent.Problem {
	var changed, overlaps []intent.Problem
	plays := false
	for _, p := range parts {
		c := p.roles.Candidate(d.Name)
		plays = plays || c != nil
		if c != nil && !c.Beside {
			overlaps = append(overlaps, overlap(a.Namespace, d, p.roles)...)
		}
		changed = append(changed, stableVersionChanged(a, p.facts.state())...)
	}
	if plays {
		wrong, disturbing := told(d, parts)
		return slices.Concat(wrong, disturbing, unique(overlaps))
	}
	return slices.Concat(d.Problems, unique(changed))
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

// overlap warns where the candidate's selector takes in stable's pods: an autoscaler of the one then counts the other's.
func overlap(namespace string, d *release.Version, r release.Roles) []intent.Problem {
	i := slices.IndexFunc(r.Stables, func(x *release.Version) bool {
		for k, v := range d.Selector {
			if x.TemplateLabels[k] != v {
				return false
			}
		}
		return len(d.Selector) > 0
	})
	if i < 0 {
		return nil
	}
	return []intent.Problem{{Kind: intent.Unused, Reason: release.ReasonSelectorsOverlap,
		Message: fmt.Sprintf("the spec.selector of %s also matches the pods of stable %s, so autoscalers count both",
			release.Object(namespace, d.Name), release.Object(namespace, r.Stables[i].Name)),
		Fix: "give each Deployment a selector of its own, for example with the label version"}}
}

// hold: a candidate gets no pods before every Service that would send it requests is pinned to stable. A Deployment that runs
// already is never held.
func (a Admission) hold(d *release.Version, parts []part) bool {
	open := func(p part) bool {
		return !p.facts.pinned() && (d.In(p.facts.Service.Name) || p.facts.exposes(p.versions, p.roles))
	}
	if !d.IsCandidate() || len(parts) > 0 && len(d.Placed.Problems) == 0 && !slices.ContainsFunc(parts, open) {
		return false
	}
	if a.Old == nil {
		return !a.New.SpecPaused || a.New.Annotations[intent.KeyHeld] != ""
	}
	return a.Old.IsHeld() && !a.New.IsHeld()
}
