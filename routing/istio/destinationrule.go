package istio

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

func typesUID(uid string) types.UID { return types.UID(uid) }

// DestinationRule is the whole object that tells Envoy the subsets. others are the users' rules for the host: Istio
// merges ours with one of the same namespace only where both say literally the same exportTo, so that is copied; a rule of
// the root namespace or with a wildcard host would be displaced by ours, so its trafficPolicy is carried over
// (istio pilot/pkg/model/destination_rule.go, mergeDestinationRule).
func DestinationRule(s release.Service, domain string, sub release.Subsets, others []*networkingv1.DestinationRule, root string,
	current *networkingv1.DestinationRule) *networkingv1.DestinationRule {
	dr := &networkingv1.DestinationRule{TypeMeta: metav1.TypeMeta{APIVersion: apiVersion, Kind: "DestinationRule"}, ObjectMeta: objectMeta(s, sub)}
	if current != nil {
		dr.ResourceVersion = current.ResourceVersion
	}
	dr.Spec.Host = Host(s, domain)
	for _, version := range slices.Sorted(maps.Keys(sub.Added)) {
		dr.Spec.Subsets = append(dr.Spec.Subsets, &v1alpha3.Subset{
			Name: SubsetName(version), Labels: map[string]string{release.VersionLabel: version}})
	}
	if merged := mergedRule(s, domain, others); merged != nil {
		dr.Spec.ExportTo = slices.Clone(merged.Spec.ExportTo)
	} else if policy := displacedPolicy(s, domain, others, root); policy != nil {
		dr.Spec.TrafficPolicy = proto.CloneOf(policy)
	}
	return dr
}

// mergedRule is the oldest of the user's rules for exactly this host in the Service's namespace.
func mergedRule(s release.Service, domain string, others []*networkingv1.DestinationRule) *networkingv1.DestinationRule {
	var oldest *networkingv1.DestinationRule
	for _, o := range others {
		if o.Namespace == s.Namespace && o.Spec.WorkloadSelector == nil && resolve(o.Spec.Host, o.Namespace, domain) == Host(s, domain) &&
			(oldest == nil || olderObject(&o.ObjectMeta, &oldest.ObjectMeta)) {
			oldest = o
		}
	}
	return oldest
}

// displacedPolicy is that of the rule that applied before ours came: a wildcard in the namespace, else the root namespace's.
func displacedPolicy(s release.Service, domain string, others []*networkingv1.DestinationRule, root string) *v1alpha3.TrafficPolicy {
	var best *networkingv1.DestinationRule
	for _, o := range others {
		if (o.Namespace == s.Namespace || o.Namespace == root) && covers(resolve(o.Spec.Host, o.Namespace, domain), Host(s, domain)) &&
			(best == nil || nearer(o, best, s.Namespace, domain)) {
			best = o
		}
	}
	if best == nil {
		return nil
	}
	return best.Spec.TrafficPolicy
}

// nearer: Istio looks in the client's and the service's namespace before the root, and takes the longest host.
func nearer(a, b *networkingv1.DestinationRule, namespace, domain string) bool {
	if (a.Namespace == namespace) != (b.Namespace == namespace) {
		return a.Namespace == namespace
	}
	x, y := resolve(a.Spec.Host, a.Namespace, domain), resolve(b.Spec.Host, b.Namespace, domain)
	if len(x) != len(y) {
		return len(x) > len(y)
	}
	return olderObject(&a.ObjectMeta, &b.ObjectMeta)
}

// covers reports whether a host as written in an Istio object, resolved, takes in the FQDN.
func covers(host, fqdn string) bool {
	if rest, wildcard := strings.CutPrefix(host, "*"); wildcard {
		return strings.HasSuffix(fqdn, rest)
	}
	return host == fqdn
}

// resolve turns a short name into the FQDN of a Service of the object's namespace, as Istio does
// (istio pkg/config/resource names: ResolveShortnameToFQDN); anything with a dot or a wildcard stays as it is.
func resolve(host, namespace, domain string) string {
	if strings.ContainsAny(host, ".*") {
		return host
	}
	return host + "." + namespace + ".svc." + domain
}

func olderObject(a, b *metav1.ObjectMeta) bool {
	if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
		return a.CreationTimestamp.Before(&b.CreationTimestamp)
	}
	return a.Namespace+"/"+a.Name < b.Namespace+"/"+b.Name
}

// ReadSubsets reads when each subset was added; false where the annotation is absent or damaged.
func ReadSubsets(dr *networkingv1.DestinationRule) (release.Subsets, bool) {
	var sub release.Subsets
	if err := json.Unmarshal([]byte(dr.Annotations[intent.KeyState]), &sub); err != nil {
		return release.Subsets{}, false
	}
	return sub, true
}

// Subsets are the names of the rule's subsets.
func Subsets(dr *networkingv1.DestinationRule) []string {
	out := make([]string, len(dr.Spec.Subsets))
	for i, s := range dr.Spec.Subsets {
		out[i] = s.Name
	}
	return out
}

// HasSubset reports whether the rule has the version's subset with the label that it ought to have.
func HasSubset(dr *networkingv1.DestinationRule, version string) bool {
	name := SubsetName(version)
	return slices.ContainsFunc(dr.Spec.Subsets, func(s *v1alpha3.Subset) bool {
		return s.Name == name && len(s.Labels) == 1 && s.Labels[release.VersionLabel] == version
	})
}

// EqualDestinationRule reports whether the object in the cluster already says what is wanted. Labels, annotations and
// metadata that are not ours do not count.
func EqualDestinationRule(got, want *networkingv1.DestinationRule) bool {
	return equalMeta(&got.ObjectMeta, &want.ObjectMeta) && proto.Equal(&got.Spec, &want.Spec)
}

// EqualVirtualService reports whether the object in the cluster already says what is wanted. Labels, annotations and
// metadata that are not ours do not count.
func EqualVirtualService(got, want *networkingv1.VirtualService) bool {
	return equalMeta(&got.ObjectMeta, &want.ObjectMeta) && proto.Equal(&got.Spec, &want.Spec)
}

func equalMeta(got, want *metav1.ObjectMeta) bool {
	return got.Labels[ManagedBy] == Manager && got.Annotations[intent.KeyState] == want.Annotations[intent.KeyState] &&
		slices.ContainsFunc(got.OwnerReferences, func(o metav1.OwnerReference) bool { return o.UID == want.OwnerReferences[0].UID })
}
