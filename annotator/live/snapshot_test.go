package live

import (
	"context"
	"testing"
	"time"

	istioscheme "istio.io/client-go/pkg/clientset/versioned/scheme"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/test/harness"
)

// A command without a store reads the API server once, and sees what the controller has done as right: there is nothing
// to change.
func TestPlainClientSeesWhatTheControllerSees(t *testing.T) {
	s := open(t)
	s.canary()
	start(t, s.namespace, unlimited, nil)
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	scheme := runtime.NewScheme()
	s.must(clientgoscheme.AddToScheme(scheme))
	s.must(istioscheme.AddToScheme(scheme))
	c, err := client.New(harness.Config(), client.Options{Scheme: scheme})
	s.must(err)
	settings := routing.Settings{Settle: settle, ClusterDomain: "cluster.local", RootNamespace: "istio-system"}
	key := types.NamespacedName{Namespace: s.namespace, Name: "web"}
	s.within(5*time.Second, "a decision from plain reads changes nothing", func() bool {
		read, err := observe.Read(context.Background(), c, settings.ClusterDomain, s.namespace)
		s.must(err)
		facts := observe.Gather(read, key, observe.Moment{Now: time.Now()}).Facts
		if len(facts.Deployments) != 2 || observe.IstioIn(facts).VirtualService == nil || observe.IstioIn(facts).DestinationRule == nil || observe.IstioIn(facts).Missing {
			t.Fatalf("read %d Deployments, VirtualService %v, DestinationRule %v", len(facts.Deployments), observe.IstioIn(facts).VirtualService, observe.IstioIn(facts).DestinationRule)
		}
		d := routing.Decide(facts, settings)
		return len(d.Writes) == 0 && len(d.Status) == 0 && d.After == 0
	})
	all, err := observe.Read(context.Background(), c, settings.ClusterDomain, "")
	s.must(err)
	if !observe.Active(all, key) || len(all.Services) <= 1 {
		t.Errorf("of all namespaces: %d Services, and web is active: %v", len(all.Services), observe.Active(all, key))
	}
}
