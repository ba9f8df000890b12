package harness

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Namespace makes a namespace for one test and returns its name. It is deleted when the test ends. If the test has
// failed, its objects and the logs are shown first.
func Namespace(t testing.TB) string {
	t.Helper()
	return makeNamespace(t, metav1.ObjectMeta{GenerateName: "test-"})
}

// NamedNamespace is Namespace with a given name.
func NamedNamespace(t testing.TB, name string) {
	t.Helper()
	makeNamespace(t, metav1.ObjectMeta{Name: name})
}

func makeNamespace(t testing.TB, named metav1.ObjectMeta) string {
	t.Helper()
	l := current()
	made, err := l.kube.CoreV1().Namespaces().Create(context.Background(), &corev1.Namespace{ObjectMeta: named}, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("a namespace for the test: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			showNamespace(t, made.Name)
		}
		// Nobody waits for its deletion: the next test has its own namespace.
		err := l.kube.CoreV1().Namespaces().Delete(context.Background(), made.Name, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) { // a test may have deleted it itself
			t.Errorf("namespace %s: %v", made.Name, err)
		}
	})
	return made.Name
}
