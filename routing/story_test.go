package routing_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// story is a golden test's input: Facts to begin with, and what happens to them step by step.
type story struct {
	About    string           `json:"about"`
	Settings routing.Settings `json:"settings"`
	Facts    routing.Facts    `json:"facts"`
	Steps    []step           `json:"steps"`
}

// step is what users, pods and time do between two looks at the Service. Each field is optional.
type step struct {
	Do       string                        `json:"do"`
	Wait     metav1.Duration               `json:"wait,omitempty"`
	Add      []release.Deployment          `json:"add,omitempty"`
	Annotate map[string]map[string]*string `json:"annotate,omitempty"`
	Replicas map[string]int32              `json:"replicas,omitempty"`
	Label    map[string]string             `json:"label,omitempty"` // of the pod template
	Ready    map[string]int                `json:"ready,omitempty"`
	ReadyFor metav1.Duration               `json:"readyFor,omitempty"`
	Pause    []string                      `json:"pause,omitempty"` // by their user
	Delete   []string                      `json:"delete,omitempty"`
	Leaving  []string                      `json:"leaving,omitempty"` // the API server asks about their end
	Strays   *[]release.Pods               `json:"strays,omitempty"`  // pods that are left of deleted Deployments
	// Rules replaces the users' DestinationRules; Coming are those that the API server asks about in this step alone.
	Rules  *[]*networkingv1.DestinationRule `json:"rules,omitempty"`
	Coming []*networkingv1.DestinationRule  `json:"coming,omitempty"`
	// Foreign are other people's VirtualServices, by the Service whose host they name; they replace those before.
	Foreign map[string][]*networkingv1.VirtualService `json:"foreign,omitempty"`

	Unroute bool             `json:"unroute,omitempty"`
	Edit    []release.Weight `json:"edit,omitempty"`
	Earlier bool             `json:"earlier,omitempty"` // an earlier grayscale wrote the routes: each names its port
	Istio   *bool            `json:"istio,omitempty"`
	// MeshRoutes are all that there are from now on; none where the list is empty.
	MeshRoutes *[]istio.MeshRoute `json:"meshRoutes,omitempty"`
}

// chapter is a golden test's output for one step: the decisions, one after the other, until nothing is left to do now.
type chapter struct {
	Do        string  `json:"do"`
	Decisions []entry `json:"decisions"`
}

const mostDecisions = 12 // a step that takes more goes round in circles

func tell(t *testing.T, s story) []chapter {
	t.Helper()
	w := newTown(s.Facts, s.Settings)
	var out []chapter
	for _, st := range s.Steps {
		st.happen(&w.facts[0])
		for n := range w.facts {
			if foreign, ok := st.Foreign[w.facts[n].Service.Name]; ok {
				w.facts[n].OtherVirtualServices = foreign
			}
		}
		out = append(out, chapter{st.Do, w.decideAll(t, st.Do)})
	}
	return out
}

func decideAll(t *testing.T, what string, f *routing.Facts, s routing.Settings) []routing.Decision {
	t.Helper()
	var decisions []routing.Decision
	for range mostDecisions {
		d := routing.Decide(*f, s)
		if idle(d) {
			return decisions
		}
		decisions = append(decisions, d)
		obey(f, d)
	}
	t.Fatalf("step %q: still something to do after %d decisions", what, mostDecisions)
	return nil
}

// idle: nothing to do now.
func idle(d routing.Decision) bool {
	return len(d.Label) == 0 && d.ApplyDestinationRule == nil && d.ApplyVirtualService == nil && !d.DeleteVirtualService &&
		!d.DeleteDestinationRule && len(d.Lift) == 0 && len(d.Annotate) == 0 && len(d.Status) == 0
}

func (s step) happen(f *routing.Facts) {
	f.Now, f.Leaving = f.Now.Add(s.Wait.Duration), s.Leaving
	f.ComingDestinationRules = s.Coming
	if s.Rules != nil {
		f.OtherDestinationRules = *s.Rules
	}
	f.Deployments = append(f.Deployments, s.Add...)
	for name, set := range s.Annotate {
		for key, value := range set {
			annotate(deployment(f, name), key, value, "kubectl-annotate")
		}
	}
	for name, n := range s.Replicas {
		deployment(f, name).Replicas = n
	}
	for name, version := range s.Label {
		d := deployment(f, name)
		d.TemplateLabels = maps.Clone(d.TemplateLabels)
		d.TemplateLabels[release.VersionLabel] = version
	}
	for _, name := range s.Pause {
		deployment(f, name).SpecPaused = true
	}
	for name, n := range s.Ready {
		d := deployment(f, name)
		became := f.Now.Add(-s.ReadyFor.Duration)
		d.Pods = []release.Pods{{Version: d.TemplateLabels[release.VersionLabel], Ready: n, Total: n, Since: became}}
	}
	f.Deployments = slices.DeleteFunc(f.Deployments, func(d release.Deployment) bool { return slices.Contains(s.Delete, d.Name) })
	if s.Strays != nil {
		f.Strays = *s.Strays
	}
	if s.Unroute {
		f.VirtualService = nil
	}
	if s.MeshRoutes != nil {
		f.MeshRoutes = *s.MeshRoutes
	}
	if s.Istio != nil {
		f.IstioMissing = !*s.Istio
	}
	if s.Earlier {
		f.VirtualService = f.VirtualService.DeepCopy()
		for _, r := range f.VirtualService.Spec.Http {
			r.Match = []*v1alpha3.HTTPMatchRequest{{Port: r.Route[0].Destination.Port.Number}}
		}
		for _, r := range f.VirtualService.Spec.Tcp {
			r.Match = []*v1alpha3.L4MatchAttributes{{Port: r.Route[0].Destination.Port.Number}}
		}
	}
	for i, w := range s.Edit {
		f.VirtualService = f.VirtualService.DeepCopy()
		f.VirtualService.Spec.Http[0].Route[i].Weight = int32(w.Share / 100)
	}
}

func deployment(f *routing.Facts, name string) *release.Deployment {
	for i := range f.Deployments {
		if f.Deployments[i].Name == name {
			return &f.Deployments[i]
		}
	}
	panic("the story has no Deployment " + name)
}

func annotate(d *release.Deployment, key string, value *string, who string) {
	d.Annotations, d.SetBy = maps.Clone(d.Annotations), maps.Clone(d.SetBy)
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	if d.SetBy == nil {
		d.SetBy = map[string]string{}
	}
	if value == nil {
		delete(d.Annotations, key)
		delete(d.SetBy, key)
		return
	}
	d.Annotations[key], d.SetBy[key] = *value, who
}

// obey does to the facts what acting on a decision does to the cluster, in the same order.
func obey(f *routing.Facts, d routing.Decision) {
	for _, step := range d.Steps() {
		if err := step(pen{f}); err != nil {
			panic(err)
		}
	}
}

// pen is routing.Hands that write into facts. Nobody else does, so that nothing is refused.
type pen struct{ *routing.Facts }

func (p pen) Confirm(routing.Derived) error { return nil }

func (p pen) ApplyDestinationRule(dr *networkingv1.DestinationRule) error {
	p.DestinationRule = dr.DeepCopy()
	return nil
}

func (p pen) ApplyVirtualService(vs *networkingv1.VirtualService) error {
	created := metav1.NewTime(p.Now)
	if p.VirtualService != nil {
		created = p.VirtualService.CreationTimestamp
	}
	p.VirtualService = vs.DeepCopy()
	p.VirtualService.CreationTimestamp = created
	return nil
}

func (p pen) DeleteVirtualService() error {
	p.VirtualService = nil
	return nil
}

func (p pen) DeleteDestinationRule() error {
	p.DestinationRule = nil
	return nil
}

func (p pen) LabelPods(release.Member) error { return nil } // facts have no pods that a ReplicaSet of before could have lost

func (p pen) Label(m release.Member) error {
	label(deployment(p.Facts, m.Deployment), m.Version)
	return nil
}

func (p pen) Lift(name string) error {
	x := deployment(p.Facts, name)
	x.SpecPaused = false
	annotate(x, intent.KeyHeld, nil, "")
	return nil
}

func (p pen) Annotate(name string, changes map[string]*string) error {
	for key, value := range changes {
		annotate(deployment(p.Facts, name), key, value, routing.FieldManager)
	}
	return nil
}

func (p pen) Status(s routing.Status) error {
	deployment(p.Facts, s.Deployment).Conditions = s.Conditions
	return nil
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

var begin = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
