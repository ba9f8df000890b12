package annotator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/annotator/adopt"
	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/release"
)

// errStale is met where what was decided from is not what the API server has, or may not be by now.
var errStale = errors.New("the cache lags behind")

// waits reports whether trying again soon is all that there is to do: somebody else wrote in between, a cache lags
// behind, an object has just gone, or its namespace is going.
func waits(err error) bool {
	return errors.Is(err, errStale) || errors.Is(err, adopt.ErrNotYet) || errors.Is(err, adopt.ErrUninstalling) ||
		apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) ||
		apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause)
}

// acting is one decision being acted on.
type acting struct {
	*Controller
	ctx  context.Context
	key  types.NamespacedName
	seen observe.Observation
	did  []string        // for the log
	why  func() []string // likewise; asked only where there is a line to write
	// history is what is known of the Service from before; nil outside of a reconcile, where nothing is kept.
	history *history
	// wrote are the derived objects that were written, by kind; nil for those that were removed.
	wrote map[string]client.Object
	// routed: the routes of this decision are written. What it says about them happened, whatever fails after it.
	routed bool
	// confirmed is until when what was confirmed holds; zero where it was not asked for.
	confirmed time.Time
	// adopter writes to the Deployments.
	adopter *adopt.Adopter
}

func (c *Controller) acting(ctx context.Context, key types.NamespacedName, seen observe.Observation) *acting {
	deployments := &adopt.Deployments{Client: c.Client, Live: c.Live, Namespace: key.Namespace,
		Known:   maps.Clone(seen.Deployments),
		OnWrite: func(d *appsv1.Deployment) { c.expectations.wrote(key, kindDeployment, d) }}
	a := &acting{Controller: c, ctx: ctx, key: key, seen: seen, wrote: map[string]client.Object{}}
	a.adopter = &adopt.Adopter{Deployments: deployments, Uninstalling: c.uninstalling, Send: c.send, Note: a.note}
	return a
}

// actOn acts on a decision of a reconcile, and keeps what the next one's log line and metrics tell from.
func (c *Controller) actOn(ctx context.Context, key types.NamespacedName, seen observe.Observation,
	d routing.Decision) error {
	a := c.acting(ctx, key, seen)
	a.history = c.histories.of(key)
	a.history.observe(seen.Facts)
	a.why = func() []string { return a.history.changeReasons(seen.Facts) }
	err := a.act(d)
	c.metrics.decided(len(a.did) > 0, err)
	a.history.wrote(a.wrote)
	if err == nil || a.routed {
		for _, wait := range a.history.answer(seen.Facts, d, a.routed, c.Clock.Now()) {
			c.metrics.followed(wait)
		}
		a.history.settle(seen.Facts, d, a.wrote)
	}
	return err
}

// act makes the writes of a decision in their order, and stops at the first error. What there is to tell follows them.
func (a *acting) act(d routing.Decision) error {
	begin := a.Clock.Now()
	err := a.writeAll(d.Plan)
	if err == nil {
		err = a.report(d.Report)
	}
	a.log(d, a.Clock.Now().Sub(begin), err)
	if err == nil || a.routed {
		a.publish(d.Events)
	}
	return err
}

func (a *acting) writeAll(p routing.Plan) error {
	if rests := p.RestsOn(); !rests.IsZero() {
		if err := a.confirm(rests); err != nil {
			return err
		}
	}
	for _, w := range p.Writes {
		if err := a.writeOne(w); err != nil {
			return err
		}
	}
	return nil
}

func (a *acting) writeOne(w routing.Write) error {
	switch w.Verb {
	case routing.Apply:
		return a.apply(w)
	case routing.Delete:
		return a.remove(w)
	case routing.LabelPods:
		return a.labelling(w.Member, a.adopter.Relabel(a.ctx, w.Member))
	case routing.Label:
		return a.labelling(w.Member, a.adopter.Label(a.ctx, w.Member))
	case routing.Lift:
		return a.lift(w.Member)
	}
	return fmt.Errorf("a write with the unknown verb %q", w.Verb)
}

// report writes annotations and conditions of ours to Deployments.
func (a *acting) report(r routing.Report) error {
	changes := map[string]map[string]*string{}
	for _, x := range r.Annotate {
		if changes[x.Deployment] == nil {
			changes[x.Deployment] = map[string]*string{}
		}
		changes[x.Deployment][x.Key] = x.Value
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		if err := a.annotate(name, changes[name]); err != nil {
			return err
		}
	}
	for _, s := range r.Status {
		if err := a.status(a.ctx, s); err != nil {
			return fmt.Errorf("status of Deployment %s/%s: %w", a.key.Namespace, s.Deployment, err)
		}
	}
	return nil
}

// log writes the line of one decision: what was done, why, and how the weights changed. A decision that changed nothing
// is told at level debug alone.
func (a *acting) log(d routing.Decision, took time.Duration, err error) {
	log := ctrl.LoggerFrom(a.ctx).WithValues("service", a.key.String(), "took", took.Round(time.Microsecond).String())
	if err != nil {
		log = log.WithValues("stoppedBy", err.Error())
	}
	if len(a.did) == 0 {
		log.V(1).Info("decided, nothing to change", "lookAgainAfter", d.After.String())
		return
	}
	if is, routed := a.wrote[kindVirtualService]; routed {
		after := "none"
		if vs, ok := is.(*networkingv1.VirtualService); ok {
			after = weights(vs)
		}
		log = log.WithValues("before", weights(observe.IstioIn(a.seen.Facts).VirtualService), "after", after)
	}
	log.Info("decided", "did", a.did, "why", a.why())
}

func (a *acting) labelling(m release.Member, err error) error {
	if err != nil {
		return fmt.Errorf("labelling the pods of Deployment %s/%s with version %s: %w",
			a.key.Namespace, m.Deployment, m.Version, err)
	}
	return nil
}

// lift ends a Deployment's hold.
func (a *acting) lift(m release.Member) error {
	seen := a.seen.Deployments[m.Deployment]
	if seen == nil {
		return nil
	}
	lifted, err := a.adopter.Lift(a.ctx, seen, m.Version)
	if err != nil {
		return fmt.Errorf("lifting the hold of Deployment %s/%s: %w", a.key.Namespace, m.Deployment, err)
	}
	if lifted {
		a.metrics.lifted()
	}
	return nil
}

// annotate changes annotations of ours on a Deployment in one write; nil removes.
func (a *acting) annotate(name string, changes map[string]*string) error {
	if err := a.adopter.Patch(a.ctx, name, adopt.Patch{"metadata": adopt.Patch{"annotations": changes}}); err != nil {
		return fmt.Errorf("annotating Deployment %s/%s: %w", a.key.Namespace, name, err)
	}
	a.note("annotated %s", name)
	return nil
}

func (a *acting) note(format string, args ...any) {
	a.did = append(a.did, fmt.Sprintf(format, args...))
}

// mostNote is how long the note of an Event may be, in bytes
// (https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/).
const mostNote = 1024

// service is what Events relate to, nil where there is none. Of Events about one Deployment that differ in nothing but
// the note the recorder publishes one, and two Services may have the same to tell.
func (a *acting) service() runtime.Object {
	s := a.seen.Facts.Service
	if s.Missing {
		return nil
	}
	return &corev1.ObjectReference{APIVersion: corev1.SchemeGroupVersion.String(), Kind: kindService,
		Namespace: s.Namespace, Name: s.Name, UID: types.UID(s.UID)}
}

// publish tells about transitions; Decide announces each only once.
func (a *acting) publish(list []routing.Event) {
	for _, e := range list {
		d := a.seen.Deployments[e.Deployment]
		if d == nil {
			continue // gone: nobody is left to tell
		}
		note := e.Message
		if len(note) > mostNote {
			note = strings.ToValidUTF8(note[:mostNote-len("...")], "") + "..."
		}
		regarding := &corev1.ObjectReference{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: kindDeployment,
			Namespace: d.Namespace, Name: d.Name, UID: d.UID, ResourceVersion: d.ResourceVersion}
		a.Events.Eventf(regarding, a.service(), e.Type, e.Reason, "Release", "%s", note)
	}
}
