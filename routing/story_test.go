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
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// story is the input of a golden test: the first Facts, and what happens to them step by step.
type story struct {
	About    string           `json:"about"`
	Settings routing.Settings `json:"settings"`
	Facts    yamlFacts        `json:"facts"`
	Steps    []step           `json:"steps"`
}

// step is what users, pods and time do between two decisions. Each field is optional.
type step struct {
	Do       string                        `json:"do"`
	Wait     metav1.Duration               `json:"wait,omitempty"`
	Add      []release.Deployment          `json:"add,omitempty"`
	Annotate map[string]map[string]*string `json:"annotate,omitempty"`
	Replicas map[string]int32              `json:"replicas,omitempty"`
	Label    map[string]string             `json:"label,omitempty"` // of the pod template
	Ready    map[string]int                `json:"ready,omitempty"`
	ReadyFor metav1.Duration               `json:"readyFor,omitempty"`
	Pause    []string                      `json:"pause,omitempty"` // by the user
	Delete   []string                      `json:"delete,omitempty"`
	Leaving  []string                      `json:"leaving,omitempty"` // the API server asks about their end
	Strays   *[]release.Pods               `json:"strays,omitempty"`  // remaining pods of deleted Deployments
	// Rules replaces the users' DestinationRules; Coming are those that the API server asks about in this step alone.
	Rules  *[]*networkingv1.DestinationRule `json:"rules,omitempty"`
	Coming []*networkingv1.DestinationRule  `json:"coming,omitempty"`
	// Foreign are VirtualServices of others, by the Service whose host they name; they replace the earlier ones.
	Foreign map[string][]*networkingv1.VirtualService `json:"foreign,omitempty"`

	Unroute bool             `json:"unroute,omitempty"`
	Edit    []release.Weight `json:"edit,omitempty"`
	Earlier bool             `json:"earlier,omitempty"` // an earlier grayscale wrote the routes: each names its port
	Istio   *bool            `json:"istio,omitempty"`
	// MeshRoutes are all routes of the Gateway API from now on; an empty list removes them.
	MeshRoutes *[]istio.MeshRoute `json:"meshRoutes,omitempty"`
}

// chapter is the output of a golden test for one step: the decisions, one after the other, until nothing is left to do
// now.
type chapter struct {
	Do        string  `json:"do"`
	Decisions []entry `json:"decisions"`
}

const mostDecisions = 12 // a step that takes more runs in circles

func tell(t *testing.T, s story) []chapter {
	t.Helper()
	w := newTown(s.Facts.facts(), s.Settings)
	var out []chapter
	for _, st := range s.Steps {
		st.happen(&w.facts[0])
		for n := range w.facts {
			if foreign, ok := st.Foreign[w.facts[n].Service.Name]; ok {
				is(&w.facts[n]).OtherVirtualServices = foreign
			}
		}
		out = append(out, chapter{st.Do, w.decideAll(t, st.Do)})
	}
	return out
}

func decideAll(t *testing.T, what string, f *routing.Facts, s routing.Settings) []decision {
	t.Helper()
	var decisions []decision
	for range mostDecisions {
		d := decide(*f, s)
		if idle(d) {
			return decisions
		}
		decisions = append(decisions, d)
		obey(f, d)
	}
	t.Fatalf("step %q: still something to do after %d decisions", what, mostDecisions)
	return nil
}

func (s step) happen(f *routing.Facts) {
	f.Now, f.Leaving = f.Now.Add(s.Wait.Duration), s.Leaving
	is(f).ComingDestinationRules = s.Coming
	if s.Rules != nil {
		is(f).OtherDestinationRules = *s.Rules
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
		is(f).VirtualService = nil
	}
	if s.MeshRoutes != nil {
		is(f).MeshRoutes = *s.MeshRoutes
	}
	if s.Istio != nil {
		is(f).Missing = !*s.Istio
	}
	if s.Earlier {
		is(f).VirtualService = is(f).VirtualService.DeepCopy()
		for _, r := range is(f).VirtualService.Spec.Http {
			r.Match = []*v1alpha3.HTTPMatchRequest{{Port: r.Route[0].Destination.Port.Number}}
		}
		for _, r := range is(f).VirtualService.Spec.Tcp {
			r.Match = []*v1alpha3.L4MatchAttributes{{Port: r.Route[0].Destination.Port.Number}}
		}
	}
	for i, w := range s.Edit {
		is(f).VirtualService = is(f).VirtualService.DeepCopy()
		is(f).VirtualService.Spec.Http[0].Route[i].Weight = int32(w.Share / 100)
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

var begin = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
