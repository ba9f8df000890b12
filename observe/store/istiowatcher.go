package store

import (
	"context"
	"slices"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"grayscale.dev/grayscale/observe"
)

// istioDefinitions are the names of the custom resource definitions that routes need.
var istioDefinitions = []string{"virtualservices.networking.istio.io", "destinationrules.networking.istio.io"}

const (
	// firstNotice and mostNotice bound how long istiod is given to notice kinds that have come back.
	firstNotice = 10 * time.Second
	mostNotice  = time.Minute
)

// istioWatcher watches Istio's objects while the API server serves their kinds.
type istioWatcher struct {
	store     *Store
	discovery discovery.DiscoveryInterface
	watched   bool              // definitions are
	defined   func(string) bool // where they are

	backoff    wait.Backoff
	gone, back time.Time // since when the definitions have been missed, and been there again; zero where they have not
}

// look starts or stops the watches to match what the API server serves. It returns when to look again, zero where there
// is nothing to wait for.
func (w *istioWatcher) look(ctx context.Context) time.Duration {
	running := w.store.istio.Load() != nil
	if !w.wanted() {
		if w.gone.IsZero() {
			w.gone = time.Now() // real time: it bounds a wait, and is no fact
		}
		if running {
			log.FromContext(ctx).Info("Istio's custom resource definitions are gone: routes are left alone until they are back")
			w.stop()
		}
		w.backoff, w.back = lookAgain, time.Time{}
		return w.idle()
	}
	if running {
		return w.idle()
	}
	if served, err := w.served(); err != nil || !served {
		return w.backoff.Step()
	}
	if left := w.noticed(); left > 0 {
		return left
	}
	if err := w.start(ctx); err != nil {
		log.FromContext(ctx).Info("Istio's objects cannot be watched yet", "reason", err.Error())
		return w.backoff.Step()
	}
	log.FromContext(ctx).Info("Istio's objects are watched")
	w.backoff, w.gone, w.back = lookAgain, time.Time{}, time.Time{}
	return w.idle()
}

// idle is when to look again while there is nothing to wait for: never where the definitions are watched.
func (w *istioWatcher) idle() time.Duration {
	if w.watched {
		return 0
	}
	return confinedLook
}

// noticed is how long it may take until istiod has noticed that the kinds are back. Its watches try again ever later
// while there is nothing to watch (k8s.io/client-go tools/cache/reflector.go: times that double up to 30 s, each up to
// twice as long by chance), each kind for itself: twice the absence, and something for what was before this process
// began. Until both have noticed, no order of writes is an order for Envoy.
func (w *istioWatcher) noticed() time.Duration {
	if w.gone.IsZero() {
		return 0
	}
	if w.back.IsZero() {
		w.back = time.Now()
	}
	return time.Until(w.back.Add(min(firstNotice+2*w.back.Sub(w.gone), mostNotice)))
}

// wanted: both definitions exist and neither is on its way out. Without a watch of them, their kinds are served.
func (w *istioWatcher) wanted() bool {
	if !w.watched {
		served, err := w.served()
		return served || err != nil && w.store.istio.Load() != nil // nobody knows: it is as it was
	}
	return !slices.ContainsFunc(istioDefinitions, func(name string) bool { return !w.defined(name) })
}

func (w *istioWatcher) served() (bool, error) {
	list, err := w.discovery.ServerResourcesForGroupVersion(networkingv1.SchemeGroupVersion.String())
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	kinds := map[string]bool{}
	for _, r := range list.APIResources {
		kinds[r.Kind] = true
	}
	return kinds["VirtualService"] && kinds["DestinationRule"], nil
}

// start begins to watch Istio's objects, and returns once they are there.
func (w *istioWatcher) start(ctx context.Context) error {
	limit, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	s := w.store
	ctx, stop := context.WithCancel(ctx)
	o := newIstioObjects(s.domain, stop)
	follow(s, o.virtualServices, sameVersion, func(vs *networkingv1.VirtualService) []types.NamespacedName {
		return observe.AffectedByIstio(s, vs)
	})
	follow(s, o.destinationRules, sameVersion, func(dr *networkingv1.DestinationRule) []types.NamespacedName {
		return observe.AffectedByIstio(s, dr)
	})
	var sources []source
	for _, namespace := range s.namespaces {
		sources = append(sources, newSink(o.virtualServices, trimVirtualService, s.istioClient, namespace),
			newSink(o.destinationRules, trimDestinationRule, s.istioClient, namespace))
	}
	go run(ctx, sources)
	if err := synced(limit, sources); err != nil {
		stop()
		return err
	}
	s.istio.Store(o)
	istioWatched.Set(1)
	return nil
}

// stop ends the watches of Istio's objects, and forgets them.
func (w *istioWatcher) stop() {
	affected := observe.All(w.store)
	w.store.istio.Swap(nil).stop()
	istioWatched.Set(0)
	w.store.notify(affected)
}
