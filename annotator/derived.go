package annotator

import (
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/istio"
)

// derivedFrom is the Service that a derived object of this name is of; false where no derived object has such a name.
func derivedFrom(name string) (string, bool) {
	service, ok := strings.CutSuffix(name, istio.Name(""))
	return service, ok && service != ""
}

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
	return service.Namespace + "/" + istio.Name(service.Name)
}
