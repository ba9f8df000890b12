package harness

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// serverFields are fields that an object may not be created with.
var serverFields = regexp.MustCompile(`(?m)^ +(uid|resourceVersion): .*\n`)

// RemoveIstio deletes the custom resource definitions of Istio's that grayscale writes to, and with them all their
// objects. The returned function creates the definitions again; the end of the test does so at the latest.
func RemoveIstio(t testing.TB) (restore func()) {
	t.Helper()
	// Routes first: if the DestinationRule went before them, they would lose their subsets.
	names := []string{"virtualservices.networking.istio.io", "destinationrules.networking.istio.io"}
	kept := serverFields.ReplaceAllString(Kubectl(t, "", append([]string{"get", "crd", "-o", "yaml"}, names...)...), "")
	restore = sync.OnceFunc(func() {
		Kubectl(t, kept, "create", "-f", "-")
		WaitEstablished(t, names...)
	})
	t.Cleanup(restore)
	Kubectl(t, "", "delete", "crd", names[0], "--wait=false")
	Eventually(t, "all VirtualServices are gone", func() error { // deleting a definition takes a few seconds more
		list, err := Istio().NetworkingV1().VirtualServices(metav1.NamespaceAll).List(context.Background(), metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil && len(list.Items) > 0 {
			err = fmt.Errorf("%d are left", len(list.Items))
		}
		return err
	})
	Kubectl(t, "", "delete", "crd", names[1])
	Kubectl(t, "", "wait", "--for=delete", "crd/"+names[0], "--timeout="+Patience.String())
	return restore
}

// WaitEstablished waits until the API server serves the resources of the custom resource definitions. kubectl wait
// alone would fail for a definition that is so new that it has no conditions yet.
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
