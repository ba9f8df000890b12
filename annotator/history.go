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

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// histories are what this process did and saw about each Service with a release. They serve logs and metrics only: no
// decision depends on them. One worker at a time uses a Service's history.
type histories struct {
	lock     sync.Mutex
	services map[types.NamespacedName]*history
}

func newHistories() *histories { return &histories{services: map[types.NamespacedName]*history{}} }

func (h *histories) of(service types.NamespacedName) *history {
	h.lock.Lock()
	defer h.lock.Unlock()
	known := h.services[service]
	if known == nil {
		known = &history{}
		h.services[service] = known
	}
	return known
}

// forget drops the history of a Service that has no release any more.
func (h *histories) forget(service types.NamespacedName) {
	h.lock.Lock()
	defer h.lock.Unlock()
	delete(h.services, service)
}

// history is what this process did and saw about one Service.
type history struct {
	// settled are the Deployments as they were when the routes were last as wanted, or last written. first is true until
	// this process has seen such a state itself; seen is true once it has seen anything of the Service.
	settled     []deploymentState
	first, seen bool
	// derived are the derived objects as this process last wrote them or found them right.
	derived byKind[fingerprint]
	// pending are the annotations of each Deployment, and since when they have been waiting for routes.
	pending []pendingChange
}

// deploymentState is what is compared to find a Deployment's changes. It is small, because there is one for each
// Deployment.
type deploymentState struct {
	name        string
	annotations userAnnotations
	replicas    int32
	ready       int
	deleting    bool
}

func stateOfDeployment(d release.Deployment) deploymentState {
	return deploymentState{d.Name, userAnnotationsOf(d), d.Replicas, readyPods(d), d.Deleting}
}

// pendingChange is what a Deployment's annotations ask for.
type pendingChange struct {
	name        string
	annotations userAnnotations
	since       time.Time // zero: nothing waits
}

// observe records what the annotations ask for, and since when. An earlier leader has seen what already has conditions.
func (h *history) observe(f routing.Facts) {
	if !h.seen {
		h.first, h.seen = true, true
		for _, d := range f.Deployments {
			if userAnnotationsOf(d) == "" || len(d.Conditions) > 0 {
				h.settled = append(h.settled, stateOfDeployment(d))
			}
		}
	}
	is := make([]pendingChange, 0, len(f.Deployments))
	for _, d := range f.Deployments {
		next := pendingChange{name: d.Name, annotations: userAnnotationsOf(d)}
		switch was, known := h.pendingOf(d.Name); {
		case known && was.annotations == next.annotations:
			next = *was
		case !known && (next.annotations == "" || len(d.Conditions) > 0):
		default:
			next.since = f.Now
		}
		is = append(is, next)
	}
	h.pending = is
}

func (h *history) pendingOf(deployment string) (*pendingChange, bool) {
	for i := range h.pending {
		if h.pending[i].name == deployment {
			return &h.pending[i], true
		}
	}
	return nil, false
}

// answer ends the wait of the changes that a decision answers, once it has been acted on. It returns how long the
// changes have waited that the new routes follow. Changes that now wait for their owner are not counted.
func (h *history) answer(f routing.Facts, d routing.Decision, routed bool, now time.Time) []time.Duration {
	var out []time.Duration
	for _, x := range f.Deployments {
		waiting, known := h.pendingOf(x.Name)
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

// answered reports whether the routes follow the Deployment's annotations, and whether the wait is over: because they
// do, or because grayscale has done all that it can for now.
func answered(x release.Deployment, d routing.Decision) (followed, over bool) {
	if x.Annotations[intent.KeyStrategy] == "" {
		_, moves := d.Find(routing.Apply, routing.Routes)
		return true, moves || d.After == 0
	}
	for _, c := range conditionsOf(x, d.Report) {
		if c.Type != intent.ConditionProgrammed {
			continue
		}
		switch c.Reason {
		case mesh.ReasonRuleConflict, mesh.ReasonHostConflict:
			return true, true // the routes apply to all clients but those with another object's routes
		case routing.ReasonNotAccepted, routing.ReasonNoReadyPods, routing.ReasonPaused, routing.ReasonLeaving:
			return c.Status == "True", true
		}
		return c.Status == "True", c.Status == "True"
	}
	return false, false
}

// wrote remembers the derived objects that were written, by kind. nil stands for a removed one.
func (h *history) wrote(objects map[string]client.Object) {
	for kind, o := range objects {
		*h.derived.of(kind) = fingerprintOf(o)
	}
}

// settle remembers the state after a decision was acted on: the derived objects that it did not write were right.
func (h *history) settle(f routing.Facts, d routing.Decision, wrote map[string]client.Object) {
	for _, kind := range []string{kindVirtualService, kindDestinationRule} {
		if _, ours := wrote[kind]; !ours {
			*h.derived.of(kind) = fingerprintOf(derivedObject(f, kind))
		}
	}
	if wrote[kindVirtualService] == nil && d.After > 0 {
		return // the routes that follow from this are still to come
	}
	h.first, h.seen, h.settled = false, true, make([]deploymentState, 0, len(f.Deployments))
	for _, x := range f.Deployments {
		is := stateOfDeployment(x)
		if pending, ok := h.pendingOf(x.Name); ok && pending.annotations == is.annotations {
			is.name, is.annotations = pending.name, pending.annotations // share one copy in memory
		}
		h.settled = append(h.settled, is)
	}
}

// edited reports whether somebody else changed or deleted the derived object, nil for none, since this process wrote it
// or found it right. A write of another replica does not count: it changes the state annotation together with the spec.
func (h *history) edited(kind string, is client.Object) bool {
	left := h.derived.of(kind)
	if !left.there {
		return false
	}
	if is == nil {
		return true
	}
	now := fingerprintOf(is)
	return is.GetAnnotations()[intent.KeyState] == "" || now.state == left.state && now.spec != left.spec
}

// derivedObject is the derived object of a kind in the facts; nil where there is none.
func derivedObject(f routing.Facts, kind string) client.Object {
	if kind == kindVirtualService {
		return orNil(observe.IstioIn(f).VirtualService)
	}
	return orNil(observe.IstioIn(f).DestinationRule)
}

// fingerprint identifies the content of a derived object.
type fingerprint struct {
	there       bool
	state, spec uint64 // hashes of the state annotation and of the spec
}

var fingerprintSeed = maphash.MakeSeed()

func fingerprintOf(o client.Object) fingerprint {
	var spec proto.Message
	switch o := o.(type) {
	case *networkingv1.VirtualService:
		spec = &o.Spec
	case *networkingv1.DestinationRule:
		spec = &o.Spec
	default:
		return fingerprint{}
	}
	bytes, err := proto.MarshalOptions{Deterministic: true}.Marshal(spec)
	if err != nil {
		return fingerprint{} // not an object of this API: nothing is reported about it
	}
	state := o.GetAnnotations()[intent.KeyState]
	return fingerprint{true, maphash.String(fingerprintSeed, state), maphash.Bytes(fingerprintSeed, bytes)}
}

// userAnnotations are the annotations with our prefix that users write, as JSON with sorted keys: equal sets are equal
// texts. Without any it is the empty text.
type userAnnotations string

func userAnnotationsOf(d release.Deployment) userAnnotations {
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
	return userAnnotations(text)
}

func (u userAnnotations) all() map[string]string {
	out := map[string]string{}
	if err := json.Unmarshal([]byte(u), &out); err != nil {
		return nil // there are none
	}
	return out
}
