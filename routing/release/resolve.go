package release

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
)

// Reasons of problems that need more than one Deployment's annotations to be seen.
const (
	ReasonNoService         = "NoService"
	ReasonAmbiguousService  = "AmbiguousService"
	ReasonServiceMismatch   = "ServiceDoesNotSelect"
	ReasonNoStable          = "NoStable"
	ReasonAmbiguousStable   = "AmbiguousStable"
	ReasonStableConflict    = "StableConflict"
	ReasonVersionConflict   = "VersionConflict"
	ReasonVersionMismatch   = "VersionMismatch"
	ReasonInvalidVersion    = "InvalidVersion"
	ReasonWeightConflict    = "WeightConflict"
	ReasonSelectorsOverlap  = "SelectorsOverlap"
	ReasonLeftOut           = "LeftOut"
	maxLabelValue           = 63 // k8s.io/apimachinery/pkg/util/validation.LabelValueMaxLength
	maxNamesInOneSentence   = 5
	noServiceSelectsMessage = "no Service of namespace %s selects the pods of %s"
)

// Behind reports whether the Service's selector matches the Deployment's pod template. A Service without a selector
// has no pods of its own, so nothing is behind it.
func Behind(s Service, d Deployment) bool {
	return len(s.Selector) > 0 && matches(s.Selector, d.TemplateLabels)
}

func matches(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}

// IsCandidate reports whether the Deployment carries the strategy annotation, with whatever value, and is not
// marked as having become stable with it.
func IsCandidate(d Deployment) bool {
	_, annotated := d.Annotations[intent.KeyStrategy]
	_, promoted := d.Annotations[intent.KeyPromoted]
	return annotated && !promoted
}

// IsHeld reports whether the webhook keeps the Deployment at zero pods.
func IsHeld(d Deployment) bool {
	value, held := d.Annotations[intent.KeyHeld]
	return held && value != Adopting && d.SpecPaused
}

// Adopting is the value of the annotation grayscale.dev/held while running pods are given the version label: the
// Deployment is paused for that, and ends being so with it.
const Adopting = "adopt"

// IsBeingAdopted reports whether an adoption of the Deployment has begun and not ended.
func IsBeingAdopted(d Deployment) bool { return d.Annotations[intent.KeyHeld] == Adopting }

// Placed is where a Deployment belongs among the Services of its namespace. Every Service that selects its pods tells the same.
type Placed struct {
	// Services are those that it is released behind, or serves for: the annotation's in its order, else all that select its
	// pods, sorted.
	Services []string
	// Beside are the others that select its pods, sorted.
	Beside []string
	// Author is the one whose decision writes its conditions, so that no two do; empty where none of Services is to be found.
	Author string
	// Problems are why it is not behind all of Services, or why these are too many. They are Pending: a Service may come or go.
	Problems []intent.Problem
}

// In reports whether the Deployment is released behind the Service or serves for it, and is not only selected by it.
func (p Placed) In(service string) bool {
	return p.Author == "" && len(p.Services) == 0 || slices.Contains(p.Services, service)
}

// Place tells where a Deployment belongs. services are those of its namespace that select its pods or that it names; others do
// not matter.
func Place(namespace string, d Deployment, services []Service) Placed {
	var selecting []string
	for _, s := range services {
		if Behind(s, d) && !s.ExternalName {
			selecting = append(selecting, s.Name)
		}
	}
	slices.Sort(selecting)
	selecting = slices.Compact(selecting)
	if named := intent.Services(d.Annotations); len(named) > 0 {
		return placeNamed(namespace, named, selecting, d, services)
	}
	p := Placed{Services: selecting}
	if len(selecting) > 0 {
		p.Author = selecting[0]
	}
	object := Object(namespace, d.Name)
	switch {
	case len(selecting) == 0:
		p.Problems = []intent.Problem{{Kind: intent.Pending, Reason: ReasonNoService,
			Message: fmt.Sprintf(noServiceSelectsMessage, namespace, object),
			Fix:     fmt.Sprintf("create a Service whose selector matches the pod template's labels, or name one in %s", intent.KeyService)}}
	case len(selecting) > 1 && hasStrategy(d):
		p.Problems = []intent.Problem{{Key: intent.KeyService, Kind: intent.Pending, Reason: ReasonAmbiguousService,
			Message: fmt.Sprintf("%d Services select the pods of %s: %s", len(selecting), object, Enumerate(selecting)),
			Fix:     fmt.Sprintf("set %s to those to release behind; the others go to stable alone meanwhile", intent.KeyService)}}
	}
	return p
}

func placeNamed(namespace string, named, selecting []string, d Deployment, services []Service) Placed {
	p := Placed{Services: named}
	for _, name := range selecting {
		if !slices.Contains(named, name) {
			p.Beside = append(p.Beside, name)
		}
	}
	for _, name := range named {
		problem, exists := namedService(namespace, name, d, services)
		if exists && p.Author == "" {
			p.Author = name
		}
		if problem != nil {
			p.Problems = append(p.Problems, *problem)
		}
	}
	if p.Author == "" {
		p.Author = named[0] // somebody has to say that none of them exists
	}
	return p
}

// namedService tells whether a Service that is named exists, and what is wrong with its name.
func namedService(namespace, named string, d Deployment, services []Service) (problem *intent.Problem, exists bool) {
	for _, s := range services {
		if s.Name != named || s.Missing {
			continue
		}
		if Behind(s, d) {
			return nil, true
		}
		what, fix := mismatch(s, d)
		return &intent.Problem{Key: intent.KeyService, Kind: intent.Pending, Reason: ReasonServiceMismatch,
			Message: fmt.Sprintf("%s names Service %q in %s, %s", Object(namespace, d.Name), named, intent.KeyService, what), Fix: fix}, true
	}
	return &intent.Problem{Key: intent.KeyService, Kind: intent.Pending, Reason: ReasonNoService,
		Message: fmt.Sprintf("%s names Service %q in %s, which does not exist in namespace %s",
			Object(namespace, d.Name), named, intent.KeyService, namespace),
		Fix: "create it or name an existing Service"}, false
}

// mismatch says why the Deployment's pods are not behind a Service, and what to do about it.
func mismatch(s Service, d Deployment) (what, fix string) {
	switch {
	case s.ExternalName:
		return "which is of type ExternalName: its clients leave the cluster, and no pods serve it", "name a Service with a selector and a cluster IP"
	case len(s.Selector) == 0:
		return "which has no selector: its endpoints are somebody else's, and no pod is known to be behind it",
			"give the Service a selector that matches the pod template's labels, or name another Service"
	}
	missing := maps.Clone(s.Selector)
	maps.DeleteFunc(missing, func(k, v string) bool { return matches(map[string]string{k: v}, d.TemplateLabels) })
	return fmt.Sprintf("whose selector %s does not match the pod template's labels", selectorText(s.Selector)),
		fmt.Sprintf("give the pod template %s, or name another Service", selectorText(missing))
}

// VersionOf is the value of the version label that the Deployment's pods have or are to get: the annotation, else
// the pod template's label, else the Deployment's name without a leading "<service>-". service is the one that is asked for; of a
// Deployment that has been placed it is the first of its own that the name begins with, so that all of them tell one version.
func VersionOf(namespace, service string, d Deployment) (string, []intent.Problem) {
	label, pinned := d.TemplateLabels[VersionLabel], d.Selector[VersionLabel]
	if asked := d.Annotations[intent.KeyVersion]; asked != "" {
		if pinned != "" && pinned != asked {
			return pinned, []intent.Problem{selectorPinsVersion(namespace, d, asked, pinned)}
		}
		if label != "" && label != asked {
			return label, []intent.Problem{versionMismatch(namespace, d, asked, label)}
		}
		return asked, nil
	}
	if label != "" {
		return label, nil
	}
	version := strings.TrimPrefix(d.Name, service+"-")
	for _, name := range slices.Concat(d.Placed.Services, d.Placed.Beside) {
		if rest, ok := strings.CutPrefix(d.Name, name+"-"); ok {
			version = rest
			break
		}
	}
	if service == "" && len(version) > maxLabelValue {
		return "", nil // shorter without the Service's name, once that is known
	}
	if len(version) > maxLabelValue {
		return "", []intent.Problem{{Key: intent.KeyVersion, Kind: intent.Invalid, Reason: ReasonInvalidVersion,
			Message: fmt.Sprintf("the name of %s gives version %q, which is longer than the %d characters of a label's value",
				Object(namespace, d.Name), version, maxLabelValue),
			Fix: fmt.Sprintf("set %s", intent.KeyVersion)}}
	}
	return version, nil
}

// versionMismatch: the pods that run carry another version, and giving them a new label would move a subset's
// traffic under them.
func versionMismatch(namespace string, d Deployment, asked, label string) intent.Problem {
	return intent.Problem{Key: intent.KeyVersion, Kind: intent.Invalid, Reason: ReasonVersionMismatch,
		Message: fmt.Sprintf("%s has %s: %q, but its pod template has the label version: %q",
			Object(namespace, d.Name), intent.KeyVersion, asked, label),
		Fix: "give both the same value (a new version rolls out new pods), or remove the annotation"}
}

// selectorPinsVersion: the selector cannot change, so the label that it asks for cannot either.
func selectorPinsVersion(namespace string, d Deployment, asked, pinned string) intent.Problem {
	return intent.Problem{Key: intent.KeyVersion, Kind: intent.Invalid, Reason: ReasonVersionMismatch,
		Message: fmt.Sprintf("%s has %s: %q, but its spec.selector asks for pods with version: %q",
			Object(namespace, d.Name), intent.KeyVersion, asked, pinned),
		Fix: "remove the annotation, or create a Deployment of another name"}
}

// Object names a Deployment in messages.
func Object(namespace, name string) string { return "Deployment " + namespace + "/" + name }

func selectorText(selector map[string]string) string {
	parts := make([]string, 0, len(selector))
	for k, v := range selector {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// Enumerate lists a few names: an error must stay one sentence however many objects there are.
func Enumerate(names []string) string {
	if len(names) > maxNamesInOneSentence {
		return strings.Join(names[:maxNamesInOneSentence], ", ") + fmt.Sprintf(" and %d more", len(names)-maxNamesInOneSentence)
	}
	return strings.Join(names, ", ")
}
