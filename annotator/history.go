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

// histories are what this process did and saw about each Service with a release, for logs and metrics alone: no
// decision rests on it. One Service's is used by one worker at a time.
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

// forget ends what is known of a Service without a release.
func (h *histories) forget(service types.NamespacedName) {
	h.lock.Lock()
	defer h.lock.Unlock()
	delete(h.services, service)
}

// history is one Service's.
type history struct {
	// settled are the Deployments as they were when the routes last were as wanted, or were last written. first is true
	// until this process has seen that for itself, and seen once it has seen anything.
	settled     []deploymentState
	first, seen bool
	// derived are the derived objects as they were left or found right.
	derived byKind[fingerprint]
	// pending are each Deployment's annotations, and since when they wait for routes.
	pending []pendingChange
}

// deploymentState is what changes of a Deployment are told from. It is small, for there are as many as Deployments.
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

// pendingChange is what a Deployment asks for.
type pendingChange struct {
	name        string
	annotations userAnnotations
	since       time.Time // zero: nothing waits
}

// observe notes what is asked for, and since when. What has conditions already was seen by an earlier leader.
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

// answer ends the wait of the changes that a decision answers, once it has been acted on. It gives how long those have
// waited whose routes follow now; those that wait for their owner from now on are not counted.
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

// answered: the routes follow the Deployment's annotations, or grayscale has done all that it can for now.
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
			return true, true // for all clients but those that somebody else leads elsewhere
		case routing.ReasonNotAccepted, routing.ReasonNoReadyPods, routing.ReasonPaused, routing.ReasonLeaving:
			return c.Status == "True", true
		}
		return c.Status == "True", c.Status == "True"
	}
	return false, false
}

// wrote remembers the derived objects that were written, by kind; nil are those that were removed.
func (h *history) wrote(objects map[string]client.Object) {
	for kind, o := range objects {
		*h.derived.of(kind) = fingerprintOf(o)
	}
}

// settle remembers what has become of a decision that was acted on: what it did not write was right.
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
			is.name, is.annotations = pending.name, pending.annotations // in memory once
		}
		h.settled = append(h.settled, is)
	}
}

// edited reports whether the derived object, nil for none, is not the one that was left or found right, and no replica
// of ours wrote it: each of those writes what it remembers with it.
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

// derivedObject is a derived object of the facts by its kind; nil where there is none.
func derivedObject(f routing.Facts, kind string) client.Object {
	if kind == kindVirtualService {
		return orNil(observe.IstioIn(f).VirtualService)
	}
	return orNil(observe.IstioIn(f).DestinationRule)
}

// fingerprint tells whether a derived object is still as it was.
type fingerprint struct {
	there       bool
	state, spec uint64 // hashes of what it remembers and of its spec
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
		return fingerprint{} // not of this API; nothing is told about it
	}
	state := o.GetAnnotations()[intent.KeyState]
	return fingerprint{true, maphash.String(fingerprintSeed, state), maphash.Bytes(fingerprintSeed, bytes)}
}

// userAnnotations are the annotations with our prefix that users write, as JSON: each set of them has one form. No
// annotation is the empty text.
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
