package istio

import (
	"slices"

	"google.golang.org/protobuf/proto"
	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/intent"
)

// EqualVirtualService reports whether the object in the cluster already says what is wanted: the spec, our label, our
// state and the owner. Labels, annotations and owners that others added do not count.
func EqualVirtualService(got, want *networkingv1.VirtualService) bool {
	return equalMeta(&got.ObjectMeta, &want.ObjectMeta) && proto.Equal(&got.Spec, &want.Spec)
}

// EqualDestinationRule reports whether the object in the cluster already says what is wanted, as EqualVirtualService does.
func EqualDestinationRule(got, want *networkingv1.DestinationRule) bool {
	return equalMeta(&got.ObjectMeta, &want.ObjectMeta) && proto.Equal(&got.Spec, &want.Spec)
}

// NamesPorts reports whether the routes in the cluster are what is wanted, but for ports that they name and these do not. An
// earlier grayscale wrote them so: nobody edited them.
func NamesPorts(got, want *networkingv1.VirtualService) bool {
	named := want.DeepCopy()
	for i, r := range named.Spec.Http {
		if len(r.Match) == 0 && i < len(got.Spec.Http) && len(got.Spec.Http[i].Match) > 0 {
			r.Match = []*v1alpha3.HTTPMatchRequest{{Port: r.Route[0].Destination.Port.Number}}
		}
	}
	for i, r := range named.Spec.Tcp {
		if len(r.Match) == 0 && i < len(got.Spec.Tcp) && len(got.Spec.Tcp[i].Match) > 0 {
			r.Match = []*v1alpha3.L4MatchAttributes{{Port: r.Route[0].Destination.Port.Number}}
		}
	}
	return !proto.Equal(&got.Spec, &want.Spec) && proto.Equal(&got.Spec, &named.Spec)
}

func equalMeta(got, want *metav1.ObjectMeta) bool {
	for _, owner := range want.OwnerReferences {
		same := func(o metav1.OwnerReference) bool {
			return o.APIVersion == owner.APIVersion && o.Kind == owner.Kind && o.Name == owner.Name && o.UID == owner.UID
		}
		if !slices.ContainsFunc(got.OwnerReferences, same) {
			return false
		}
	}
	return got.Namespace == want.Namespace && got.Name == want.Name &&
		got.Labels[ManagedBy] == want.Labels[ManagedBy] && got.Annotations[intent.KeyState] == want.Annotations[intent.KeyState]
}
