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

// serverFields are what an object may not be created with.
var serverFields = regexp.MustCompile(`(?m)^ +(uid|resourceVersion): .*\n`)

// RemoveIstio deletes Istio's custom resource definitions that grayscale writes to, and all objects of theirs with
// them. They are created again by what it returns, at the latest when the test ends.
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
	Kubectl(t, "", "delete", "crd", names[0], "--wait=false")
	Eventually(t, "all VirtualServices are gone", func() error { // a definition takes some seconds more
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

// WaitEstablished waits until the API server serves what the custom resource definitions define. kubectl wait by itself
// fails on a definition so new that it has no conditions yet.
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
