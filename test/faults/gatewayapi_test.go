package faults

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// gatewayAPI is locked by a test that removes the Gateway API's definitions, and read-locked by tests that need them.
var gatewayAPI sync.RWMutex

func needGatewayAPI(t *testing.T) {
	t.Helper()
	gatewayAPI.RLock()
	t.Cleanup(gatewayAPI.RUnlock)
	harness.InstallGatewayAPI(t)
}

// A foreign HTTPRoute with the Service as parent was there first: a release waits until it is deleted, and changes
// nothing.
func TestHTTPRouteHoldsTheHost(t *testing.T) {
	t.Parallel()
	needGatewayAPI(t)
	s := begin(t)
	s.meshRoute("HTTPRoute", s.NS, "before")
	s.servedByNeighbour()
	before := len(s.history.Writes(nil))
	s.apply("web-v2", 10)
	message := harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "HTTPRoute "+s.NS+"/before routes Service "+s.NS+"/web in the mesh already")
	t.Logf("the candidate waits: %s", message)
	told := harness.Kubectl(t, "", "annotate", "--overwrite", "--dry-run=server", "-n", s.NS, "deploy/web-v2", "grayscale.dev/weight=20")
	if !strings.Contains(told, "HTTPRoute "+s.NS+"/before") {
		t.Errorf("admission warns of nothing: %s", told)
	}
	if pods := harness.PodUIDs(t, s.NS, "release=web-v2"); len(pods) != 0 {
		t.Errorf("the candidate is not held: %v", pods)
	}
	for _, w := range s.history.Writes(nil)[before:] {
		if w.Name == derived {
			t.Errorf("%s %s is written while the HTTPRoute holds the host", w.Kind, w.Name)
		}
	}
	s.servedByNeighbour()

	harness.Kubectl(t, "", "delete", "httproute", "-n", s.NS, "before")
	fault := time.Now()
	s.programmed("web-v2", 10)
	s.Served(map[string]float64{"v1": 90, "v2": 10})
	s.end(fault)
}

// An HTTPRoute that comes in the middle of a release takes the clients of its own namespace from it, and no others. The
// load is a client in namespace default.
func TestHTTPRouteComesInTheMiddle(t *testing.T) {
	t.Parallel()
	needGatewayAPI(t)
	s := begin(t)
	s.canary(10)
	s.meshRoute("HTTPRoute", s.NS, "after")
	message := harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Programmed", "False", "HTTPRoute "+s.NS+"/after routes Service "+s.NS+"/web for clients in namespace "+s.NS)
	t.Logf("told: %s", message)
	for _, weight := range []int{20, 10} { // it stops nothing for the others
		s.weigh(weight)
		harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Programmed", "False", fmt.Sprintf("canary %d%% of web, but", weight))
		s.Served(map[string]float64{"v1": float64(100 - weight), "v2": float64(weight)})
	}
	harness.Kubectl(t, "", "delete", "httproute", "-n", s.NS, "after")
	s.programmed("web-v2", 10)

	client := "client-of-" + s.NS
	t.Cleanup(func() { harness.Kubectl(t, "", "delete", "httproute", "-n", "default", "--ignore-not-found", client) })
	s.meshRoute("HTTPRoute", "default", client)
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Programmed", "False", "HTTPRoute default/"+client+" routes Service "+s.NS+"/web for clients in namespace default")
	s.servedByNeighbour()
	harness.Kubectl(t, "", "delete", "httproute", "-n", "default", client)
	fault := time.Now()
	s.programmed("web-v2", 10)
	s.Served(map[string]float64{"v1": 90, "v2": 10})
	s.weigh(30)
	s.programmed("web-v2", 30)
	s.Served(map[string]float64{"v1": 70, "v2": 30})
	s.end(fault)
}

// A GRPCRoute holds the host of a Service with a port for gRPC in the same way.
func TestGRPCRouteHoldsTheHost(t *testing.T) {
	t.Parallel()
	needGatewayAPI(t)
	s := scene(t)
	rpc, grpc := harness.Service("web"), "grpc"
	rpc.Spec.Ports[0].AppProtocol = &grpc
	_, err := harness.Kube().CoreV1().Services(s.NS).Update(ctx, rpc, metav1.UpdateOptions{})
	s.must(err)
	s.meshRoute("GRPCRoute", s.NS, "before")
	s.apply("web-v2", 10)
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "GRPCRoute "+s.NS+"/before routes Service "+s.NS+"/web in the mesh already")
	harness.Kubectl(t, "", "delete", "grpcroute", "-n", s.NS, "before")
	s.programmed("web-v2", 10)
	s.end(time.Now())
}

// The Gateway API's definitions are installed in the middle of a release, removed, and installed again. Routes of
// the API are seen as soon as they can exist; grayscale is not restarted for this.
func TestGatewayAPIDefinitionsComeAndGo(t *testing.T) {
	t.Parallel()
	gatewayAPI.Lock()
	t.Cleanup(gatewayAPI.Unlock)
	harness.RemoveGatewayAPI(t)
	s := begin(t)
	s.canary(10)
	before := restarts(t)
	for range 2 {
		harness.InstallGatewayAPI(t)
		s.meshRoute("HTTPRoute", s.NS, "after")
		harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Programmed", "False", "HTTPRoute "+s.NS+"/after")
		s.Served(map[string]float64{"v1": 90, "v2": 10})
		harness.RemoveGatewayAPI(t)
		s.programmed("web-v2", 10)
	}
	fault := time.Now()
	s.weigh(30)
	s.programmed("web-v2", 30)
	s.Served(map[string]float64{"v1": 70, "v2": 30})
	if n := restarts(t) - before; n != 0 {
		t.Errorf("grayscale was restarted %d times", n)
	}
	s.end(fault)
}

// meshRoute makes a foreign route with Service web as parent, to its neighbour.
func (s story) meshRoute(kind, namespace, name string) {
	s.T.Helper()
	harness.Kubectl(s.T, harness.MeshRoute(kind, namespace, name, s.NS, "web", "other"), "apply", "-f", "-")
}
