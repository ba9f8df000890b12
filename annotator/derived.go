package annotator

import (
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/mesh"
)

// byKind is something about each of a Service's derived objects.
type byKind[T any] struct{ virtualService, destinationRule T }

func (b *byKind[T]) of(kind string) *T {
	if kind == kindVirtualService {
		return &b.virtualService
	}
	return &b.destinationRule
}

// derivedKey is the key under which caches hold a Service's derived objects.
func derivedKey(service types.NamespacedName) string {
	return service.Namespace + "/" + mesh.Name(service.Name)
}
