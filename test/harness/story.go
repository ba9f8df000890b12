package harness

import (
	"context"
	"fmt"
	"testing"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Story is a user's namespace with a release behind Service web. Test packages embed it and add to it.
type Story struct {
	T   testing.TB
	NS  string
	URL string // of port 80 of Service web, for mesh clients
}

// NewStory makes a namespace for a test.
func NewStory(t testing.TB) Story {
	t.Helper()
	return StoryIn(t, Namespace(t))
}

// StoryIn is NewStory in an existing namespace.
func StoryIn(t testing.TB, namespace string) Story {
	return Story{T: t, NS: namespace, URL: URL(namespace, "web", 80)}
}

// Kubectl runs kubectl in the namespace; a non-zero exit fails the test.
func (s Story) Kubectl(args ...string) {
	s.T.Helper()
	Kubectl(s.T, "", append(args, "-n", s.NS)...)
}

// Apply is kubectl apply -f; it returns what kubectl prints, warnings included.
func (s Story) Apply(manifests string) string {
	s.T.Helper()
	return Kubectl(s.T, manifests, "apply", "-n", s.NS, "-f", "-")
}

// Annotate sets (key=value) or removes (key-) our annotations, with the same request as kubectl annotate; keys have no
// prefix.
func (s Story) Annotate(deployment string, changes ...string) {
	s.T.Helper()
	if err := Annotate(s.NS, deployment, changes); err != nil {
		s.T.Fatalf("annotating Deployment %s/%s with %v: %v", s.NS, deployment, changes, err)
	}
}

// Programmed waits until the condition grayscale.dev/Programmed of a Deployment has a message.
func (s Story) Programmed(deployment, message string) {
	s.T.Helper()
	WaitProgrammed(s.T, s.NS, deployment, message)
}

// Served fails the test unless Envoy splits the requests to Service web like this, in percent by version.
func (s Story) Served(percent map[string]float64) {
	s.T.Helper()
	AssertSplit(s.T, s.URL, percent)
}

// Load waits until an address answers, then sends requests or connections until the test ends. None may be lost.
func (s Story) Load(address string, perSecond int) *Load {
	s.T.Helper()
	WaitServed(s.T, address)
	return StartLoad(s.T, address, perSecond)
}

// Routes is the derived VirtualService of a Service.
func (s Story) Routes(service string) *networkingv1.VirtualService {
	s.T.Helper()
	vs, err := Istio().NetworkingV1().VirtualServices(s.NS).Get(context.Background(), service+"-grayscale", metav1.GetOptions{})
	if err != nil {
		s.T.Fatal(err)
	}
	return vs
}

// NoRoutes waits until neither a VirtualService nor a DestinationRule is left in the namespace.
func (s Story) NoRoutes() {
	s.T.Helper()
	Eventually(s.T, "the routes of "+s.NS+" are gone", func() error {
		services, err := Istio().NetworkingV1().VirtualServices(s.NS).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		rules, err := Istio().NetworkingV1().DestinationRules(s.NS).List(context.Background(), metav1.ListOptions{})
		if err != nil {
			return err
		}
		if len(services.Items)+len(rules.Items) > 0 {
			return fmt.Errorf("%d VirtualServices and %d DestinationRules are left", len(services.Items), len(rules.Items))
		}
		return nil
	})
}

// Probes makes the readiness probes of the pods with these labels fail or succeed. The pods still answer, like pods
// whose probe fails because of a dependency.
func (s Story) Probes(selector string, succeed bool) {
	s.T.Helper()
	patch := `{"metadata":{"annotations":{"lab.grayscale.dev/ready":"false"}}}`
	if succeed {
		patch = `{"metadata":{"annotations":{"lab.grayscale.dev/ready":null}}}`
	}
	for name := range PodUIDs(s.T, s.NS, selector) {
		_, err := Kube().CoreV1().Pods(s.NS).Patch(context.Background(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{})
		if err != nil {
			s.T.Fatal(err)
		}
	}
}
