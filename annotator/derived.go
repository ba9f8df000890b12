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

// derivedKey is the key under which caches hold a Service's derived objects.
func derivedKey(service types.NamespacedName) string {
	return service.Namespace + "/" + istio.Name(service.Name)
}
