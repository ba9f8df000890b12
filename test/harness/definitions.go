package harness

import (
	"fmt"
	"regexp"
	"sync"
	"testing"
)

// serverFields are what an object may not be created with.
var serverFields = regexp.MustCompile(`(?m)^ +(uid|resourceVersion): .*\n`)

// RemoveIstio deletes Istio's custom resource definitions that grayscale writes to, and all objects of theirs with them. They
// are created again by what it returns, at the latest when the test ends.
func RemoveIstio(t testing.TB) (restore func()) {
	t.Helper()
	// Routes first: a DestinationRule that goes before them takes the subsets away under them, whoever removes it.
	names := []string{"virtualservices.networking.istio.io", "destinationrules.networking.istio.io"}
	kept := serverFields.ReplaceAllString(Kubectl(t, "", append([]string{"get", "crd", "-o", "yaml"}, names...)...), "")
	restore = sync.OnceFunc(func() {
		Kubectl(t, kept, "create", "-f", "-")
		WaitEstablished(t, names...)
	})
	t.Cleanup(restore)
	for _, name := range names {
		Kubectl(t, "", "delete", "crd", name)
	}
	return restore
}

// WaitEstablished waits until the API server serves what the custom resource definitions define. kubectl wait by itself fails
// on a definition so new that it has no conditions yet.
func WaitEstablished(t testing.TB, definitions ...string) {
	t.Helper()
	Eventually(t, "the definitions are established", func() error {
		out, err := TryKubectl(t, "", append([]string{"wait", "--for=condition=Established", "crd"}, definitions...)...)
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}
