package translate

import (
	"fmt"
	"strings"

	route "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"istio.io/istio/pilot/pkg/model"
)

// Routes wraps istiod's generator of routes so that the mesh client's HTTP proxy reaches every port of a Service.
//
// For that listener istiod tells ports apart by the Host ("web:8090"), and at the same time has Envoy ignore the port
// in the Host, so that a Service with a port other than 80, or with several, is never found (istio.io/istio,
// pilot/pkg/networking/core/httproute.go, IgnorePortInHostMatching and mergeAllVirtualHosts). What a route does is not
// touched.
func Routes(inner model.XdsResourceGenerator) model.XdsResourceGenerator {
	return routes{inner}
}

type routes struct {
	inner model.XdsResourceGenerator
}

// Generate answers every client: istiod has no deltas for routes.
func (r routes) Generate(proxy *model.Proxy, w *model.WatchedResource, req *model.PushRequest) (model.Resources, model.XdsLogDetails, error) {
	resources, details, err := r.inner.Generate(proxy, w, req)
	if err != nil {
		return nil, details, err
	}
	for i, resource := range resources {
		if resource.GetName() != model.RDSHttpProxy {
			continue
		}
		if resources[i], err = byPort(resource); err != nil {
			return nil, details, err
		}
	}
	return resources, details, nil
}

// byPort has Envoy heed the port in the Host; a Host without one means port 80.
func byPort(resource *discovery.Resource) (*discovery.Resource, error) {
	config := &route.RouteConfiguration{}
	if err := resource.GetResource().UnmarshalTo(config); err != nil {
		return nil, fmt.Errorf("route %s: %w", resource.GetName(), err)
	}
	config.IgnorePortInHostMatching = false
	taken := map[string]bool{}
	for _, host := range config.GetVirtualHosts() {
		for _, domain := range host.GetDomains() {
			taken[domain] = true
		}
	}
	for _, host := range config.GetVirtualHosts() {
		for _, domain := range host.GetDomains() {
			if bare, ok := strings.CutSuffix(domain, ":80"); ok && !taken[bare] {
				taken[bare] = true // Envoy refuses a route that names a domain twice
				host.Domains = append(host.Domains, bare)
			}
		}
	}
	packed, err := repack(resource, config)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", resource.GetName(), err)
	}
	return packed, nil
}
