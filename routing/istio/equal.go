package istio

import (
	"slices"

	"google.golang.org/protobuf/proto"
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
