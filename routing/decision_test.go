package routing_test

import (
	"maps"
	"slices"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// decision is a plan and its report, as golden files show them.
type decision struct {
	Label                 []release.Member              `json:"label,omitempty"`
	Confirm               confirmed                     `json:"confirm,omitzero"`
	ApplyDestinationRule  *networkingv1.DestinationRule `json:"applyDestinationRule,omitempty"`
	ApplyVirtualService   *networkingv1.VirtualService  `json:"applyVirtualService,omitempty"`
	DeleteVirtualService  bool                          `json:"deleteVirtualService,omitempty"`
	DeleteDestinationRule bool                          `json:"deleteDestinationRule,omitempty"`
	Lift                  []string                      `json:"lift,omitempty"`
	routing.Report
	After time.Duration `json:"after,omitempty"`
	plan  routing.Plan
}

type confirmed struct {
	VirtualService  bool     `json:"virtualService,omitempty"`
	DestinationRule bool     `json:"destinationRule,omitempty"`
	OtherRules      bool     `json:"otherRules,omitempty"`
	Beside          []string `json:"beside,omitempty"`
}

func decide(f routing.Facts, s routing.Settings) decision {
	p := routing.MakePlan(f, s)
	rests := p.RestsOn()
	d := decision{plan: p, After: p.After, Report: p.Report(),
		Confirm: confirmed{rests.Routes, rests.Subsets, rests.OtherRules, rests.Beside}}
	for _, w := range p.Writes {
		switch o := w.Object.(type) {
		case *networkingv1.VirtualService:
			if d.DeleteVirtualService = w.Verb == routing.Delete; w.Verb == routing.Apply {
				d.ApplyVirtualService = o
			}
		case *networkingv1.DestinationRule:
			if d.DeleteDestinationRule = w.Verb == routing.Delete; w.Verb == routing.Apply {
				d.ApplyDestinationRule = o
			}
		}
		switch w.Verb {
		case routing.Label:
			d.Label = append(d.Label, w.Member)
		case routing.Lift:
			d.Lift = append(d.Lift, w.Member.Deployment)
		}
	}
	return d
}

// idle: nothing to do now.
func idle(d decision) bool {
	return len(d.plan.Writes) == 0 && len(d.Annotate) == 0 && len(d.Status) == 0
}

// obey does to the facts what acting on a plan does to the cluster, in the same order.
func obey(f *routing.Facts, d decision) {
	for _, w := range d.plan.Writes {
		write(f, w)
	}
	for _, x := range d.Annotate {
		annotate(deployment(f, x.Deployment), x.Key, x.Value, routing.FieldManager)
	}
	for _, s := range d.Status {
		deployment(f, s.Deployment).Conditions = s.Conditions
	}
}

func write(f *routing.Facts, w routing.Write) {
	switch o := w.Object.(type) {
	case *networkingv1.VirtualService:
		f.VirtualService = applied(f, w.Verb, o)
		return
	case *networkingv1.DestinationRule:
		f.DestinationRule = nil
		if w.Verb == routing.Apply {
			f.DestinationRule = o.DeepCopy()
		}
		return
	}
	switch w.Verb {
	case routing.LabelPods: // facts have no pods that a ReplicaSet of before could have lost
	case routing.Label:
		label(deployment(f, w.Member.Deployment), w.Member.Version)
	case routing.Lift:
		d := deployment(f, w.Member.Deployment)
		d.SpecPaused = false
		annotate(d, intent.KeyHeld, nil, "")
	}
}

func applied(f *routing.Facts, verb routing.Verb, vs *networkingv1.VirtualService) *networkingv1.VirtualService {
	if verb == routing.Delete {
		return nil
	}
	created := metav1.NewTime(f.Now)
	if f.VirtualService != nil {
		created = f.VirtualService.CreationTimestamp
	}
	vs = vs.DeepCopy()
	vs.CreationTimestamp = created
	return vs
}

// label gives the template and the pods that lack it the version label, as adoption does.
func label(d *release.Deployment, version string) {
	d.TemplateLabels = maps.Clone(d.TemplateLabels)
	d.TemplateLabels[release.VersionLabel] = version
	sum := map[string]release.Pods{}
	for _, p := range d.Pods {
		if p.Version == "" {
			p.Version = version
		}
		q := sum[p.Version]
		sum[p.Version] = release.Pods{Version: p.Version, Ready: q.Ready + p.Ready, Total: q.Total + p.Total, Since: p.Since}
	}
	d.Pods = slices.SortedFunc(maps.Values(sum), func(a, b release.Pods) int {
		if a.Version < b.Version {
			return -1
		}
		return 1
	})
}
