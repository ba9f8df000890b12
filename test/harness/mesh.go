package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	networkingapi "istio.io/api/networking/v1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// WaitMesh waits until istiod sees new writes: an earlier test may have broken its watches, and each reconnects at its
// own time.
func WaitMesh(t testing.TB, namespace string) {
	t.Helper()
	ctx, api := context.Background(), Istio().NetworkingV1()
	meta := metav1.ObjectMeta{Name: "probe", Namespace: namespace}
	host := "probe." + namespace + ".svc.cluster.local"
	rule := &networkingv1.DestinationRule{ObjectMeta: meta, Spec: networkingapi.DestinationRule{Host: host}}
	routes := &networkingv1.VirtualService{ObjectMeta: meta, Spec: networkingapi.VirtualService{Hosts: []string{host},
		Http: []*networkingapi.HTTPRoute{{Route: []*networkingapi.HTTPRouteDestination{{Destination: &networkingapi.Destination{Host: host}}}}}}}
	if _, err := api.DestinationRules(namespace).Create(ctx, rule, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := api.VirtualServices(namespace).Create(ctx, routes, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "istiod sees what is written", func() error { return knows(namespace, "probe", "DestinationRule", "VirtualService") })
	if err := api.DestinationRules(namespace).Delete(ctx, "probe", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := api.VirtualServices(namespace).Delete(ctx, "probe", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// knows fails unless istiod's configuration has an object of that name of each kind.
func knows(namespace, name string, kinds ...string) error {
	response, err := http.Get(strings.TrimSuffix(Lab().Istiod, "/") + "/debug/configz")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var all []metav1.PartialObjectMetadata
	if err := json.NewDecoder(response.Body).Decode(&all); err != nil {
		return fmt.Errorf("istiod's /debug/configz: %s: %w", response.Status, err)
	}
	known := map[string]bool{}
	for _, o := range all {
		known[o.Kind] = known[o.Kind] || o.Namespace == namespace && o.Name == name
	}
	for _, kind := range kinds {
		if !known[kind] {
			return fmt.Errorf("istiod does not know %s %s/%s", kind, namespace, name)
		}
	}
	return nil
}
