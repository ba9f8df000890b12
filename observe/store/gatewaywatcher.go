package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/log"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"grayscale.dev/grayscale/observe"
)

// gatewayWatcher watches the kinds of the Gateway API that istiod follows for the mesh, each while the API server
// serves it. A cluster may have none of them, or some: then it asks nothing about the others until their definitions
// come.
type gatewayWatcher struct {
	store     *Store
	discovery discovery.DiscoveryInterface
	watched   bool              // definitions are
	defined   func(string) bool // where they are

	backoff wait.Backoff // while kinds are not served, or not watched, yet
	again   bool         // a definition has changed: discovery may tell of it only later
}

// definitionOf is the name of a kind's custom resource definition.
func definitionOf(kind string) string { return observe.MeshKinds[kind] + "." + gatewayv1.GroupName }

// look starts or stops watches to match what the API server serves, and reports whether any was. It returns as well
// when to look again, zero where there is nothing to wait for.
func (g *gatewayWatcher) look(ctx context.Context) (changed bool, next time.Duration) {
	wanted := g.wanted()
	served := map[string]string{}
	if len(wanted) > 0 {
		var err error
		if served, err = g.served(wanted); err != nil {
			return false, g.backoff.Step() // nobody knows: it is as it was
		}
	}
	limit, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	var starting errgroup.Group
	missing := false
	for kind := range observe.MeshKinds {
		is, version := g.store.meshRoutes.version(kind), served[kind]
		switch {
		case version == "" && slices.Contains(wanted, kind) && g.watched:
			missing = true // discovery is behind: the kind stays as it is
		case version == "" && is != "":
			g.store.meshRoutes.forget(kind)
			changed = true
		case version != is:
			changed = true
			starting.Go(func() error { return g.store.watchMeshRoutes(ctx, limit, kind, version) })
		}
	}
	if err := starting.Wait(); err != nil {
		log.FromContext(ctx).Info("Routes of the Gateway API cannot be watched yet", "reason", err.Error())
		missing = true
	}
	return changed, g.next(missing, len(wanted) > 0)
}

// next is when to look again.
func (g *gatewayWatcher) next(missing, wanted bool) time.Duration {
	again := g.again && wanted
	g.again = false
	switch {
	case missing:
		return g.backoff.Step()
	case !g.watched:
		return confinedLook
	case again:
		return lookAgain.Cap
	}
	g.backoff = lookAgain
	return 0
}

// wanted are the kinds whose definitions exist, and are not on their way out. Without a watch of them, any may.
func (g *gatewayWatcher) wanted() []string {
	kinds := slices.Sorted(maps.Keys(observe.MeshKinds))
	if !g.watched {
		return kinds
	}
	return slices.DeleteFunc(kinds, func(kind string) bool { return !g.defined(definitionOf(kind)) })
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
