package istio

import (
	"cmp"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/release"
)

// HostKeys are the names by which a VirtualService or DestinationRule can be found for a Service: fully qualified
// names, and wildcards as written ("*.shop.svc.cluster.local"). Any other obj has none.
func HostKeys(obj any, domain string) []string {
	switch o := obj.(type) {
	case *networkingv1.VirtualService:
		var out []string
		for _, h := range o.Spec.Hosts {
			out = append(out, routeHosts(h, o.Namespace, domain)...)
		}
		slices.Sort(out)
		return slices.Compact(out)
	case *networkingv1.DestinationRule:
		return []string{resolve(o.Spec.Host, o.Namespace, domain)}
	}
	return nil
}

// resolve turns a short name into the FQDN of a Service in the object's namespace. A name with a dot, and the bare
// wildcard, stay as they are (istio pilot/pkg/model/config.go, ResolveShortnameToFQDN).
func resolve(host, namespace, domain string) string {
	host = strings.ToLower(host)
	if host == "*" || strings.Contains(host, ".") {
		return host
	}
	return host + "." + namespace + ".svc." + domain
}

// routeHosts are the hosts whose requests a VirtualService gets if it lists this one: the resolved name and, for a
// half-qualified name ("reviews.shop"), the Service that it means. Istio does not resolve such a name. But an Envoy
// that listens on port 80 compares it with the Host header, and that is what clients write there (istio
// pilot/pkg/networking/core/httproute.go, BuildSidecarOutboundVirtualHosts).
func routeHosts(host, namespace, domain string) []string {
	resolved := resolve(host, namespace, domain)
	switch {
	case strings.HasPrefix(resolved, "*"):
	case strings.HasSuffix(resolved, ".svc"):
		return []string{resolved, resolved + "." + domain}
	case strings.Count(resolved, ".") == 1:
		return []string{resolved, resolved + ".svc." + domain}
	}
	return []string{resolved}
}

// covers reports whether a resolved host is the FQDN, or a wildcard over it.
func covers(host, fqdn string) bool {
	if rest, wildcard := strings.CutPrefix(host, "*"); wildcard {
		return strings.HasSuffix(fqdn, rest)
	}
	return host == fqdn
}

// IsAbout reports whether a DestinationRule's host is the Service's, or a wildcard over it.
func IsAbout(dr *networkingv1.DestinationRule, s release.Service, domain string) bool {
	return covers(resolve(dr.Spec.Host, dr.Namespace, domain), Host(s, domain))
}

// byAge sorts as Istio does: of two objects for one host it prefers the first (istio pilot/pkg/model/config.go,
// configCompareByCreationTime). Creation times are whole seconds, so names decide between objects of the same second.
func byAge(a, b metav1.Object) int {
	x, y := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	return cmp.Or(x.Compare(y.Time), cmp.Compare(a.GetName(), b.GetName()),
		cmp.Compare(a.GetNamespace(), b.GetNamespace()))
}

// sorted is the list by age, so that results do not depend on the order in which it was read.
func sorted[T metav1.Object](list []T) []T {
	return slices.SortedFunc(slices.Values(list), func(a, b T) int { return byAge(a, b) })
}

// isPublic: the exportTo shows an object to the clients of every namespace. An empty one means the mesh's default,
// which is the same unless somebody changed it.
func isPublic(exportTo []string) bool { return len(exportTo) == 0 || slices.Contains(exportTo, "*") }
