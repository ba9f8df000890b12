package translate

import (
	"fmt"

	endpoint "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"istio.io/istio/pilot/pkg/model"
)

// Endpoints wraps istiod's generator of endpoints: Pod addresses leave as loopback addresses.
func Endpoints(inner model.XdsResourceGenerator, addresses Addresses) model.XdsDeltaResourceGenerator {
	return endpoints{inner, addresses}
}

type endpoints struct {
	inner     model.XdsResourceGenerator
	addresses Addresses
}

// Generate answers a client that is sent the state of the world.
func (e endpoints) Generate(proxy *model.Proxy, w *model.WatchedResource, req *model.PushRequest) (model.Resources, model.XdsLogDetails, error) {
	resources, details, err := e.inner.Generate(proxy, w, req)
	if err != nil {
		return nil, details, err
	}
	moved, err := e.move(resources)
	return moved, details, err
}

// GenerateDeltas answers a client that is sent changes.
func (e endpoints) GenerateDeltas(proxy *model.Proxy, req *model.PushRequest, w *model.WatchedResource) (model.Resources, model.DeletedResources, model.XdsLogDetails, bool, error) {
	delta, ok := e.inner.(model.XdsDeltaResourceGenerator)
	if !ok {
		resources, details, err := e.Generate(proxy, w, req)
		return resources, nil, details, false, err
	}
	resources, deleted, details, usedDelta, err := delta.GenerateDeltas(proxy, req, w)
	if err != nil {
		return nil, nil, details, usedDelta, err
	}
	moved, err := e.move(resources)
	return moved, deleted, details, usedDelta, err
}

// move returns resources of its own: those it is given are shared with istiod's cache.
func (e endpoints) move(resources model.Resources) (model.Resources, error) {
	if resources == nil {
		return nil, nil // nil means "nothing to push", which an empty list does not
	}
	moved := make(model.Resources, 0, len(resources))
	for _, resource := range resources {
		assignment := &endpoint.ClusterLoadAssignment{}
		if err := resource.GetResource().UnmarshalTo(assignment); err != nil {
			return nil, fmt.Errorf("endpoints of %s: %w", resource.GetName(), err)
		}
		if !e.moveAll(assignment) {
			moved = append(moved, resource)
			continue
		}
		packed, err := repack(resource, assignment)
		if err != nil {
			return nil, fmt.Errorf("endpoints of %s: %w", resource.GetName(), err)
		}
		moved = append(moved, packed)
	}
	return moved, nil
}

func (e endpoints) moveAll(assignment *endpoint.ClusterLoadAssignment) bool {
	changed := false
	for _, locality := range assignment.GetEndpoints() {
		for _, lb := range locality.GetLbEndpoints() {
			changed = e.addresses.movePod(lb.GetEndpoint().GetAddress()) || changed
			for _, additional := range lb.GetEndpoint().GetAdditionalAddresses() {
				changed = e.addresses.movePod(additional.GetAddress()) || changed
			}
		}
	}
	return changed
}

// repack is resource with another message in it, its name and version kept.
func repack(resource *discovery.Resource, message proto.Message) (*discovery.Resource, error) {
	packed, err := anypb.New(message)
	if err != nil {
		return nil, err
	}
	copied := proto.CloneOf(resource)
	copied.Resource = packed
	return copied, nil
}
