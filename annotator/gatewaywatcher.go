package annotator

import (
	"context"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/discovery"
	ctrl "sigs.k8s.io/controller-runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"grayscale.dev/grayscale/observe"
)

// gatewayWatcher watches the kinds of the Gateway API that istiod follows for the mesh, each while the API server
// serves it. A cluster may have none of them, or some: then nothing is asked about the others until their definitions
// come.
type gatewayWatcher struct {
	store     *Caches
	discovery discovery.DiscoveryInterface

	pause time.Duration // before the next look for kinds that are not served, or not watched, yet
	again bool          // a definition has changed: discovery may tell of it only later
}

// definitionOf is the name of a kind's custom resource definition.
func definitionOf(kind string) string { return observe.MeshKinds[kind] + "." + gatewayv1.GroupName }

// look starts or stops watches to match what the API server serves, and tells whether any was. It tells as well when to
// look again, zero where nothing is left to wait for.
func (g *gatewayWatcher) look(ctx context.Context, q queue) (changed bool, wait time.Duration) {
	defined := g.defined(ctx)
	served := map[string]string{}
	if len(defined) > 0 {
		var err error
		if served, err = g.served(defined); err != nil {
			return false, g.later() // nobody knows: it is as it was
		}
	}
	limit, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	var starting errgroup.Group
	missing := false
	for kind := range observe.MeshKinds {
		is, version := g.store.meshRoutes.version(kind), served[kind]
		switch {
		case version == "" && slices.Contains(defined, kind) && g.store.definitions != nil:
			missing = true // discovery is behind: the kind stays as it is
		case version == "" && is != "":
			g.store.forgetKind(kind)
			changed = true
		case version != is:
			changed = true
			starting.Go(func() error { return g.start(ctx, limit, q, kind, version) })
		}
	}
	if err := starting.Wait(); err != nil {
		ctrl.LoggerFrom(ctx).Info("Routes of the Gateway API cannot be watched yet", "reason", err.Error())
		missing = true
	}
	return changed, g.next(missing, len(defined) > 0)
}

// next is when to look again.
func (g *gatewayWatcher) next(missing, defined bool) time.Duration {
	again := g.again && defined
	g.again = false
	switch {
	case missing:
		return g.later()
	case g.store.definitions == nil:
		return confinedLook
	case again:
		return lastLook
	}
	g.pause = 0
	return 0
}

func (g *gatewayWatcher) later() time.Duration {
	g.pause = min(2*max(g.pause, firstLook), lastLook)
	return g.pause
}

// defined are the kinds whose definitions exist, and are not on their way out. Without a watch of them, any may.
func (g *gatewayWatcher) defined(ctx context.Context) []string {
	kinds := slices.Sorted(maps.Keys(observe.MeshKinds))
	if g.store.definitions == nil {
		return kinds
	}
	return slices.DeleteFunc(kinds, func(kind string) bool { return !g.store.defined(ctx, definitionOf(kind)) })
}

// served are the versions in which kinds are served, the best of each.
func (g *gatewayWatcher) served(kinds []string) (map[string]string, error) {
	out := map[string]string{}
	for _, version := range observe.MeshVersions {
		list, err := g.discovery.ServerResourcesForGroupVersion(gatewayv1.GroupName + "/" + version)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, r := range list.APIResources {
			if _, better := out[r.Kind]; !better && slices.Contains(kinds, r.Kind) && observe.MeshKinds[r.Kind] == r.Name {
				out[r.Kind] = version
			}
		}
		if len(out) == len(kinds) {
			break
		}
	}
	return out, nil
}

func (g *gatewayWatcher) start(ctx, limit context.Context, q queue, kind, version string) error {
	return g.store.watchKind(ctx, limit, kind, version, func(s *shelf[*meshRoute]) {
		follow(s, q, sameMeshRoute, g.store.ofMeshRoute)
	})
}
