package release

import (
	"fmt"
	"maps"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
)

// Placed is where a Deployment belongs among the Services of its namespace. It is the same for each of these Services.
type Placed struct {
	// Services are those that it is released behind, or serves: the ones that its annotation names, in that order, or
	// else all that select its pods, sorted.
	Services []string
	// Beside are the others that select its pods, sorted.
	Beside []string
	// Author is the Service whose decision writes the Deployment's conditions, so that no two do: the first of Services
	// that exists. If the annotation names only Services that do not exist, it is the first of them. It is empty if the
	// annotation names none and none selects the pods.
	Author string
	// Problems say why it is not behind all of Services, or why these are too many. They are Pending, because a Service
	// may come or go.
	Problems []intent.Problem
}

// In reports whether the Deployment is released behind the Service or serves it, and is not only selected by it. A
// Deployment without any Service counts as in each.
func (p Placed) In(service string) bool {
	return p.Author == "" && len(p.Services) == 0 || slices.Contains(p.Services, service)
}

// place finds where a Deployment belongs. services must hold those of its namespace that select its pods or that it
// names; others do not matter.
func place(namespace string, d *Deployment, services []Service) Placed {
	var selecting []string
	for _, s := range services {
		if s.Selects(d) && !s.ExternalName {
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
	switch object := Object(namespace, d.Name); {
	case len(selecting) == 0:
		p.Problems = []intent.Problem{noServiceSelects(namespace, object)}
	case len(selecting) > 1 && d.HasStrategy():
		p.Problems = []intent.Problem{severalServicesSelect(object, selecting)}
	}
	return p
}

func noServiceSelects(namespace, object string) intent.Problem {
	return intent.Problem{Kind: intent.Pending, Reason: ReasonNoService,
		Message: fmt.Sprintf("no Service of namespace %s selects the pods of %s", namespace, object),
		Fix: fmt.Sprintf("create a Service whose selector matches the pod template's labels, or name one in %s",
			intent.KeyService)}
}

func severalServicesSelect(object string, selecting []string) intent.Problem {
	return intent.Problem{Key: intent.KeyService, Kind: intent.Pending, Reason: ReasonAmbiguousService,
		Message: fmt.Sprintf("%d Services select the pods of %s: %s", len(selecting), object, Enumerate(selecting)),
		Fix: fmt.Sprintf("set %s to those to release behind; the others go to stable alone meanwhile",
			intent.KeyService)}
}

func placeNamed(namespace string, named, selecting []string, d *Deployment, services []Service) Placed {
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
		p.Author = named[0] // one of them has to report that none exists
	}
	return p
}

// namedService reports whether a named Service exists, and what is wrong with naming it.
func namedService(namespace, named string, d *Deployment, services []Service) (
	problem *intent.Problem, exists bool,
) {
	for _, s := range services {
		if s.Name != named || s.Missing {
			continue
		}
		if s.Selects(d) {
			return nil, true
		}
		what, fix := mismatch(s, d)
		return &intent.Problem{Key: intent.KeyService, Kind: intent.Pending, Reason: ReasonServiceMismatch,
			Message: fmt.Sprintf("%s names Service %q in %s, %s",
				Object(namespace, d.Name), named, intent.KeyService, what),
			Fix: fix}, true
	}
	return &intent.Problem{Key: intent.KeyService, Kind: intent.Pending, Reason: ReasonNoService,
		Message: fmt.Sprintf("%s names Service %q in %s, which does not exist in namespace %s",
			Object(namespace, d.Name), named, intent.KeyService, namespace),
		Fix: "create it or name an existing Service"}, false
}

// mismatch says why the Deployment's pods are not behind a Service, and what to do about it.
func mismatch(s Service, d *Deployment) (what, fix string) {
	switch {
	case s.ExternalName:
		return "which is of type ExternalName: its clients leave the cluster, and no pods serve it",
			"name a Service with a selector and a cluster IP"
	case len(s.Selector) == 0:
		return "which has no selector: its endpoints are somebody else's, and no pod is known to be behind it",
			"give the Service a selector that matches the pod template's labels, or name another Service"
	}
	missing := maps.Clone(s.Selector)
	maps.DeleteFunc(missing, func(k, v string) bool { return matches(map[string]string{k: v}, d.TemplateLabels) })
	return fmt.Sprintf("whose selector %s does not match the pod template's labels", selectorText(s.Selector)),
		fmt.Sprintf("give the pod template %s, or name another Service", selectorText(missing))
}
