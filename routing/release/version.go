package release

import (
	"fmt"
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/intent"
)

// Version is one Deployment behind a Service, with its annotations parsed. They are parsed only once, here.
type Version struct {
	Deployment
	// Label is the value of the version label that its pods have or will get; empty if it cannot be determined.
	Label string
	// Intent is what its annotations ask for (see intent.Parse).
	Intent intent.Intent
	// Placed is where it belongs among the Services of its namespace.
	Placed Placed
	// Problems are what is wrong with it by itself: with its annotations, its Services, its version.
	Problems []intent.Problem

	// services and stables are the names in the annotations service and stable, valid or not.
	services, stables []string
	// usable: no annotation has an invalid value.
	usable bool
	// mislabelled are those of Problems that are about its version.
	mislabelled []intent.Problem
}

// Parse reads a Deployment. services must hold those of its namespace that select its pods or that it names.
func Parse(namespace string, d Deployment, services []Service) *Version {
	v := &Version{Deployment: d, Placed: place(namespace, &d, services)}
	v.services, v.stables = intent.Services(d.Annotations), intent.Stables(d.Annotations)
	var asked []intent.Problem
	v.Intent, asked = intent.Parse(Object(namespace, d.Name), d.Annotations)
	v.usable = intent.Usable(asked)
	v.Label, v.mislabelled = labelOf(namespace, &d, v.Placed)
	v.Problems = slices.Concat(asked, v.Placed.Problems, v.mislabelled)
	return v
}

// ParseAll reads several Deployments of one namespace.
func ParseAll(namespace string, list []Deployment, services []Service) []*Version {
	out := make([]*Version, len(list))
	for i, d := range list {
		out[i] = Parse(namespace, d, services)
	}
	return out
}

// Member is the version as the State refers to it.
func (v *Version) Member() Member { return Member{v.Name, v.Label} }

// Serving counts its pods that serve as its version.
func (v *Version) Serving() int { return v.Ready(v.Label) }

// In reports whether it is released behind the Service or serves it, and is not only selected by it.
func (v *Version) In(service string) bool { return v.Placed.In(service) }

// Names reports whether its annotation service names the Service.
func (v *Version) Names(service string) bool { return slices.Contains(v.services, service) }

// labelOf is the value of the version label that the Deployment's pods have or will get: the annotation, or else the
// pod template's label, or else the Deployment's name without a leading "<service>-". If it is behind several Services,
// the first one that the name begins with counts, so that all of them arrive at the same version.
func labelOf(namespace string, d *Deployment, placed Placed) (string, []intent.Problem) {
	label, selected := d.TemplateLabels[VersionLabel], d.Selector[VersionLabel]
	if asked := d.Annotations[intent.KeyVersion]; asked != "" {
		switch {
		case selected != "" && selected != asked:
			return selected, []intent.Problem{selectorPinsVersion(namespace, d, asked, selected)}
		case label != "" && label != asked:
			return label, []intent.Problem{versionMismatch(namespace, d, asked, label)}
		}
		return asked, nil
	}
	if label != "" {
		return label, nil
	}
	version := d.Name
	for _, service := range slices.Concat(placed.Services, placed.Beside) {
		if rest, ok := strings.CutPrefix(d.Name, service+"-"); ok {
			version = rest
			break
		}
	}
	switch {
	case len(version) <= maxLabelValue:
		return version, nil
	case placed.Author == "":
		return "", nil // without the Service's name it will be shorter, once the Service is known
	}
	return "", []intent.Problem{{Key: intent.KeyVersion, Kind: intent.Invalid, Reason: ReasonInvalidVersion,
		Message: fmt.Sprintf(
			"the name of %s gives version %q, which is longer than the %d characters of a label's value",
			Object(namespace, d.Name), version, maxLabelValue),
		Fix: fmt.Sprintf("set %s", intent.KeyVersion)}}
}

// versionMismatch: running pods have another version. A new label would move the traffic of one subset to the other.
func versionMismatch(namespace string, d *Deployment, asked, label string) intent.Problem {
	return intent.Problem{Key: intent.KeyVersion, Kind: intent.Invalid, Reason: ReasonVersionMismatch,
		Message: fmt.Sprintf("%s has %s: %q, but its pod template has the label version: %q",
			Object(namespace, d.Name), intent.KeyVersion, asked, label),
		Fix: "give both the same value (a new version rolls out new pods), or remove the annotation"}
}

// selectorPinsVersion: the selector is immutable, so the label that it requires is too.
func selectorPinsVersion(namespace string, d *Deployment, asked, selected string) intent.Problem {
	return intent.Problem{Key: intent.KeyVersion, Kind: intent.Invalid, Reason: ReasonVersionMismatch,
		Message: fmt.Sprintf("%s has %s: %q, but its spec.selector asks for pods with version: %q",
			Object(namespace, d.Name), intent.KeyVersion, asked, selected),
		Fix: "remove the annotation, or create a Deployment of another name"}
}
