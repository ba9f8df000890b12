package annotator

import (
	"encoding/json"
	"hash/maphash"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
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
	// this process has seen that for itself, and seen once it has seen anything.
	settled     []settled
	first, seen bool
	// derived are the derived objects as we left them or found them right.
	derived byKind[trace]
	// asks are each Deployment's annotations, and since when they wait for routes.
	asks []ask
}

// settled is of a Deployment what differences are told from; there are as many as Deployments, so that it is small.
type settled struct {
	name     string
	wishes   wishes
	replicas int32
	ready    int
	deleting bool
}

func settledAs(d release.Deployment) settled {
	return settled{d.Name, wishesOf(d), d.Replicas, readyPods(d), d.Deleting}
}

// ask is what a Deployment asks for.
type ask struct {
	name   string
	wishes wishes
	since  time.Time // zero: nothing waits
}

// trace tells whether a derived object is still as it was.
type trace struct {
	there       bool
	state, spec uint64 // hashes of what it remembers and of its spec
}

func traceOf(o client.Object) trace {
	var spec proto.Message
	switch o := o.(type) {
	case *networkingv1.VirtualService:
		spec = &o.Spec
	case *networkingv1.DestinationRule:
		spec = &o.Spec
	default:
		return trace{}
	}
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(spec)
	if err != nil {
		return trace{} // not of this API; nothing is told about it
	}
	return trace{true, maphash.String(seed, o.GetAnnotations()[intent.KeyState]), maphash.Bytes(seed, bytes)}
}

func newPasts() *pasts { return &pasts{services: map[types.NamespacedName]*past{}} }

func (p *pasts) of(service types.NamespacedName) *past {
	p.lock.Lock()
	defer p.lock.Unlock()
	known := p.services[service]
	if known == nil {
		known = &past{}
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
	if !p.seen {
		p.first, p.seen = true, true
		for _, d := range f.Deployments {
			if wishesOf(d) == "" || len(d.Conditions) > 0 {
				p.settled = append(p.settled, settledAs(d))
			}
		}
	}
	is := make([]ask, 0, len(f.Deployments))
	for _, d := range f.Deployments {
		next := ask{name: d.Name, wishes: wishesOf(d)}
		switch was, known := p.asked(d.Name); {
		case known && was.wishes == next.wishes:
			next = *was
		case !known && (next.wishes == "" || len(d.Conditions) > 0):
		default:
			next.since = f.Now
		}
		is = append(is, next)
	}
	p.asks = is
}

func (p *past) asked(deployment string) (*ask, bool) {
	for i := range p.asks {
		if p.asks[i].name == deployment {
			return &p.asks[i], true
		}
	}
	return nil, false
}

// wishes are the annotations of ours that are not written by ourselves, as JSON, which has each set of them in one way; empty
// for none.
type wishes string

func wishesOf(d release.Deployment) wishes {
	out := map[string]string{}
	for key, value := range d.Annotations {
		if d.SetBy[key] != routing.FieldManager && key != intent.KeyHeld && key != intent.KeyPromoted {
			out[key] = value
		}
	}
	if len(out) == 0 {
		return ""
	}
	text, err := json.Marshal(out)
	if err != nil {
		return "" // maps of strings always marshal
	}
	return wishes(text)
}

func (w wishes) all() map[string]string {
	out := map[string]string{}
	if err := json.Unmarshal([]byte(w), &out); err != nil {
		return nil // there are none
	}
	return out
}

// follow gives how long each of those had to wait whose routes follow now that the decision has been acted on. Those
// that wait for their owner from now on are no longer counted.
func (p *past) follow(f routing.Facts, d routing.Decision, routed bool, now time.Time) []time.Duration {
	var out []time.Duration
	for _, x := range f.Deployments {
		waiting, known := p.asked(x.Name)
		if !known || waiting.since.IsZero() {
			continue
		}
		followed, over := answered(x, d)
		if !over {
			continue
		}
		if followed && routed {
			out = append(out, now.Sub(waiting.since))
		}
		waiting.since = time.Time{}
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
		case c.Reason == istio.ReasonRuleConflict, c.Reason == istio.ReasonHostConflict:
			return true, true // for all clients but those that somebody else leads elsewhere
		case c.Reason == routing.ReasonNotAccepted, c.Reason == routing.ReasonNoReadyPods, c.Reason == routing.ReasonPaused, c.Reason == routing.ReasonLeaving:
			return false, true
		}
	}
	return false, false
}

// edited: the object that is there, nil for none, is not the one that we left or found right, and no replica of ours wrote
// it, for each of those writes what it remembers with it.
func (p *past) edited(kind string, is client.Object) bool {
	left := p.derived.of(kind)
	if !left.there {
		return false
	}
	if is == nil {
		return true
	}
	now := traceOf(is)
	return is.GetAnnotations()[intent.KeyState] == "" || now.state == left.state && now.spec != left.spec
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
	for kind, o := range wrote {
		*p.derived.of(kind) = traceOf(o)
	}
}

// keep remembers what has become of a decision that was acted on: what it did not write was right.
func (p *past) keep(f routing.Facts, d routing.Decision, wrote map[string]client.Object) {
	for _, kind := range []string{kindVirtualService, kindDestinationRule} {
		if _, ours := wrote[kind]; !ours {
			*p.derived.of(kind) = traceOf(derivedObject(f, kind))
		}
	}
	if wrote[kindVirtualService] == nil && d.After > 0 {
		return // the routes that follow from this are still to come
	}
	p.first, p.seen, p.settled = false, true, make([]settled, 0, len(f.Deployments))
	for _, x := range f.Deployments {
		is := settledAs(x)
		if asks, ok := p.asked(x.Name); ok && asks.wishes == is.wishes {
			is.name, is.wishes = asks.name, asks.wishes // in memory once
		}
		p.settled = append(p.settled, is)
	}
}
