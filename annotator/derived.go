package annotator

import (
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/mesh"
)

// byKind has one value for each of a Service's two derived objects.
type byKind[T any] struct{ virtualService, destinationRule T }

func (b *byKind[T]) of(kind string) *T {
	if kind == kindVirtualService {
		return &b.virtualService
	}
	return &b.destinationRule
}

// derivedKey is the namespace and the name that a Service's derived objects have.
func derivedKey(service types.NamespacedName) string {
	return service.Namespace + "/" + mesh.Name(service.Name)
}
