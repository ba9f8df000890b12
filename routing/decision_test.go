package routing_test

import (
	"maps"
	"slices"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
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
	d := decision{plan: p, After: p.After, Report: p.MakeReport(),
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

// idle: there is nothing to do now.
func idle(d decision) bool {
	return len(d.plan.Writes) == 0 && len(d.Annotate) == 0 && len(d.Status) == 0
}

// obey changes the facts as acting on a plan would change the cluster, in the same order.
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
		is(f).VirtualService = applied(f, w.Verb, o)
		return
	case *networkingv1.DestinationRule:
		is(f).DestinationRule = nil
		if w.Verb == routing.Apply {
			is(f).DestinationRule = o.DeepCopy()
		}
		return
	}
	switch w.Verb {
	case routing.LabelPods: // facts have no pods that a ReplicaSet of before could have lost
	case routing.Label:
		label(deployment(f, w.Member.Deployment), w.Member.Version)
	case routing.Lift:
		d := deployment(f, w.Member.Deployment)
		if d.IsBeingAdopted() {
			label(d, w.Member.Version)
		}
		d.SpecPaused = false
		annotate(d, intent.KeyHeld, nil, "")
	}
}

func applied(f *routing.Facts, verb routing.Verb, vs *networkingv1.VirtualService) *networkingv1.VirtualService {
	if verb == routing.Delete {
		return nil
	}
	created := metav1.NewTime(f.Now)
	if is(f).VirtualService != nil {
		created = is(f).VirtualService.CreationTimestamp
	}
	vs = vs.DeepCopy()
	vs.CreationTimestamp = created
	return vs
}

// label adds the version label to the template and to the pods that lack it, as an adoption does.
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

// istioOf is the Istio of some facts and of no others: copies of the facts get their own when they are changed.
type istioOf struct {
	istio.Mesh
	facts *routing.Facts
}

// is returns the Istio of the facts, to be read and changed.
func is(f *routing.Facts) *istio.Mesh {
	next := &istioOf{facts: f}
	switch m := f.Mesh.(type) {
	case *istioOf:
		if m.facts == f {
			return &m.Mesh
		}
		next.Mesh = m.Mesh
	case *istio.Mesh:
		next.Mesh = *m
	}
	f.Mesh = next
	return &next.Mesh
}

// pin adds routes of ours with this state.
func pin(f *routing.Facts, st release.State) {
	c := mesh.Config{ClusterDomain: "cluster.local", RootNamespace: "istio-system"}
	is(f).VirtualService = is(f).For(f.Service, c).RenderRoutes(mesh.Rules(st.Traffic, nil), st).Object.(*networkingv1.VirtualService)
}

// yamlFacts are facts as golden files write them, with Istio's objects among them.
type yamlFacts struct {
	routing.Facts
	yamlIstio
	Beside []yamlFacts `json:"beside,omitempty"`
}

// yamlIstio is the Istio of facts.
type yamlIstio istio.Mesh

func (y yamlFacts) facts() routing.Facts {
	f, m := y.Facts, istio.Mesh(y.yamlIstio)
	f.Mesh = &m
	for _, b := range y.Beside {
		f.Beside = append(f.Beside, b.facts())
	}
	return f
}
