package annotator

import (
	"maps"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// pasts are what this process did and saw about each Service with a release, for logs and metrics alone: no decision rests
// on it. One Service's is used by one worker at a time.
type pasts struct {
	lock     sync.Mutex
	services map[types.NamespacedName]*past
}

// past is one Service's.
type past struct {
	// settled are the Deployments as they were when the routes last were as wanted, or were last written; first is true until
	// this process has seen that for itself.
	settled map[string]release.Deployment
	first   bool
	// derived are the derived objects as we left them or found them right, by kind.
	derived map[string]client.Object
	// asks are each Deployment's annotations, and since when they wait for routes.
	asks map[string]ask
}

// ask is what a Deployment asks for.
type ask struct {
	annotations map[string]string
	since       time.Time // zero: nothing waits
}

func newPasts() *pasts { return &pasts{services: map[types.NamespacedName]*past{}} }

func (p *pasts) of(service types.NamespacedName) *past {
	p.lock.Lock()
	defer p.lock.Unlock()
	known := p.services[service]
	if known == nil {
		known = &past{derived: map[string]client.Object{}, asks: map[string]ask{}}
		p.services[service] = known
	}
	return known
}

// forget ends what is known of a Service without a release.
func (p *pasts) forget(service types.NamespacedName) {
	p.lock.Lock()
	defer p.lock.Unlock()
	delete(p.services, service)
}

// see notes what is asked for, and since when. What has conditions already was seen by whoever led before.
func (p *past) see(f routing.Facts) {
	if p.settled == nil {
		p.first, p.settled = true, map[string]release.Deployment{}
		for _, d := range f.Deployments {
			if len(wishesOf(d)) == 0 || len(d.Conditions) > 0 {
				p.settled[d.Name] = d
			}
		}
	}
	is := map[string]ask{}
	for _, d := range f.Deployments {
		wishes := wishesOf(d)
		was, known := p.asks[d.Name]
		switch {
		case known && maps.Equal(was.annotations, wishes):
			is[d.Name] = was
		case !known && (len(wishes) == 0 || len(d.Conditions) > 0):
			is[d.Name] = ask{annotations: wishes}
		default:
			is[d.Name] = ask{annotations: wishes, since: f.Now}
		}
	}
	p.asks = is
}

// wishesOf are the annotations of ours that are not written by ourselves.
func wishesOf(d release.Deployment) map[string]string {
	out := map[string]string{}
	for key, value := range d.Annotations {
		if d.SetBy[key] != routing.FieldManager && key != intent.KeyHeld && key != intent.KeyPromoted {
			out[key] = value
		}
	}
	return out
}

// follow gives how long each of those had to wait whose routes follow now that the decision has been acted on. Those
// that wait for their owner from now on are no longer counted.
func (p *past) follow(f routing.Facts, d routing.Decision, routed bool, now time.Time) []time.Duration {
	var out []time.Duration
	for _, x := range f.Deployments {
		waiting := p.asks[x.Name]
		if waiting.since.IsZero() {
			continue
		}
		followed, over := answered(x, d)
		if !over {
			continue
		}
		if followed && routed {
			out = append(out, now.Sub(waiting.since))
		}
		p.asks[x.Name] = ask{annotations: waiting.annotations}
	}
	return out
}

// answered: the routes follow the Deployment's annotations, or grayscale has done all that it can for now.
func answered(x release.Deployment, d routing.Decision) (followed, over bool) {
	if x.Annotations[intent.KeyStrategy] == "" {
		return true, d.ApplyVirtualService != nil || d.After == 0
	}
	for _, c := range conditionsOf(x, d) {
		switch {
		case c.Type != intent.ConditionProgrammed:
		case c.Status == "True":
			return true, true
		case c.Reason == routing.ReasonNotAccepted, c.Reason == routing.ReasonNoReadyPods, c.Reason == routing.ReasonPaused, c.Reason == routing.ReasonLeaving:
			return false, true
		}
	}
	return false, false
}

// edited: the object that is there, nil for none, is not the one that we left or found right, and no replica of ours wrote
// it, for each of those writes what it remembers with it.
func (p *past) edited(kind string, is client.Object) bool {
	left := p.derived[kind]
	if left == nil {
		return false
	}
	if is == nil {
		return true
	}
	remembers := is.GetAnnotations()[intent.KeyState]
	return remembers == "" || remembers == left.GetAnnotations()[intent.KeyState] && !sameSpec(left, is)
}

func sameSpec(a, b client.Object) bool {
	switch a := a.(type) {
	case *networkingv1.VirtualService:
		b, ok := b.(*networkingv1.VirtualService)
		return ok && proto.Equal(&a.Spec, &b.Spec)
	case *networkingv1.DestinationRule:
		b, ok := b.(*networkingv1.DestinationRule)
		return ok && proto.Equal(&a.Spec, &b.Spec)
	}
	return false
}

// derivedObject is a derived object of the facts by its kind, nil where there is none.
func derivedObject(f routing.Facts, kind string) client.Object {
	switch {
	case kind == kindVirtualService && f.VirtualService != nil:
		return f.VirtualService
	case kind == kindDestinationRule && f.DestinationRule != nil:
		return f.DestinationRule
	}
	return nil
}

// left remembers the derived objects that were written, by kind; nil are those that were removed.
func (p *past) left(wrote map[string]client.Object) {
	maps.Copy(p.derived, wrote)
}

// keep remembers what has become of a decision that was acted on: what it did not write was right.
func (p *past) keep(f routing.Facts, d routing.Decision, wrote map[string]client.Object) {
	for _, kind := range []string{kindVirtualService, kindDestinationRule} {
		if _, ours := wrote[kind]; !ours {
			p.derived[kind] = derivedObject(f, kind)
		}
	}
	if wrote[kindVirtualService] == nil && d.After > 0 {
		return // the routes that follow from this are still to come
	}
	p.first, p.settled = false, make(map[string]release.Deployment, len(f.Deployments))
	for _, x := range f.Deployments {
		p.settled[x.Name] = x
	}
}
