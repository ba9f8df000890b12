package translate

import (
	"fmt"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"istio.io/istio/pilot/pkg/model"
)

// Listeners wraps istiod's generator of listeners: those of a sidecar move from 127.0.0.1, which every lab on the
// machine shares, to addresses of this lab. A gateway's listeners bind where its Gateway says.
func Listeners(inner model.XdsResourceGenerator, addresses Addresses) model.XdsResourceGenerator {
	return listeners{inner, addresses}
}

type listeners struct {
	inner     model.XdsResourceGenerator
	addresses Addresses
}

// Generate answers every client: istiod has no deltas for listeners.
func (l listeners) Generate(proxy *model.Proxy, w *model.WatchedResource, req *model.PushRequest) (model.Resources, model.XdsLogDetails, error) {
	resources, details, err := l.inner.Generate(proxy, w, req)
	if err != nil || proxy.Type != model.SidecarProxy {
		return resources, details, err
	}
	moved, err := l.move(resources)
	return moved, details, err
}

func (l listeners) move(resources model.Resources) (model.Resources, error) {
	if resources == nil {
		return nil, nil // nil means "nothing to push", which an empty list does not
	}
	moved := make(model.Resources, 0, len(resources))
	for _, resource := range resources {
		one := &listener.Listener{}
		if err := resource.GetResource().UnmarshalTo(one); err != nil {
			return nil, fmt.Errorf("listener %s: %w", resource.GetName(), err)
		}
		l.moveOne(one.GetAddress())
		for _, additional := range one.GetAdditionalAddresses() {
			l.moveOne(additional.GetAddress())
		}
		packed, err := repack(resource, one)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", resource.GetName(), err)
		}
		moved = append(moved, packed)
	}
	return moved, nil
}

func (l listeners) moveOne(address *core.Address) {
	if socket := address.GetSocketAddress(); socket != nil {
		host, port := l.addresses.listener(socket.GetAddress(), socket.GetPortValue())
		socket.Address, socket.PortSpecifier = host, &core.SocketAddress_PortValue{PortValue: port}
	}
}
