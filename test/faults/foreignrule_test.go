package faults

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	networking "istio.io/api/networking/v1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

const (
	// clientsNamespace is that of the lab's mesh client.
	clientsNamespace = "default"
	foreignTCPPort   = 6110
)

// A foreign DestinationRule hides the subsets from the clients in the middle of a release: in their namespace, for
// their namespace, and with another exportTo. Meanwhile weights change and the release is aborted. Requests and
// connections go on, and the split comes back once the rule is gone.
func TestForeignDestinationRuleInTheMiddle(t *testing.T) {
	t.Parallel()
	s, connections := foreignScene(t)
	s.bothPorts("web-v2", map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/weight": "10"})
	s.programmed("web-v2", 10)
	s.Served(map[string]float64{"v1": 90, "v2": 10})

	s.hide(clientsNamespace, []string{"."})
	told := harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Programmed", "False", clientsNamespace+"/"+s.ruleName())
	t.Logf("the owner is told: %s", told)
	harness.WaitEvent(t, s.NS, "web-v2", "DestinationRuleConflict", s.ruleName())
	s.Served(map[string]float64{"v1": 50, "v2": 50}) // as many pods as stable has
	for i := range 3 {
		s.changeRule(clientsNamespace, i+100)
	}
	s.weigh(30)
	s.disturbed("canary 30% of web, but ")
	s.weigh(0) // a foreign rule cannot stop an abort
	s.disturbed("canary 0% of web, but ")
	s.reveal(clientsNamespace)
	s.programmed("web-v2", 0)
	s.Served(map[string]float64{"v1": 100})

	s.weigh(20)
	s.programmed("web-v2", 20)
	for range 2 { // as a tool does that replaces objects
		s.hide(clientsNamespace, nil)
		s.reveal(clientsNamespace)
	}
	s.hide(s.NS, []string{clientsNamespace})
	s.disturbed("canary 20% of web, but ")
	s.reveal(s.NS)
	s.programmed("web-v2", 20)
	s.hide(s.NS, []string{"*"}) // ours says the same then, and the two are merged
	s.programmed("web-v2", 20)
	s.Served(map[string]float64{"v1": 80, "v2": 20})
	s.reveal(s.NS)
	s.programmed("web-v2", 20)
	r := connections.AssertNoneLost(t)
	t.Logf("%d connections opened, %d lost", r.Sent, r.Lost)
	s.end(time.Now())
}

// foreignScene is begin with a port of each kind, and load on both.
func foreignScene(t *testing.T) (story, *harness.Load) {
	t.Helper()
	s := story{Story: harness.NewStory(t)}
	ns := s.NS
	harness.WaitMesh(t, ns)
	s.history = harness.Record(t, ns)
	_, err := harness.Kube().CoreV1().Services(ns).Create(ctx, harness.Service("web",
		harness.Port{Name: "http", Number: 80, Target: 8080}, harness.Port{Name: "tcp", Number: foreignTCPPort, Target: 9000}), metav1.CreateOptions{})
	s.must(err)
	s.bothPorts("web-v1", nil)
	harness.WaitReady(t, ns, "web-v1")
	harness.WaitServed(t, s.URL)
	harness.WaitServed(t, harness.TCPURL(ns, "web", foreignTCPPort))
	s.before = len(s.history.Writes(nil))
	s.load = harness.StartLoad(t, s.URL, loadRate)
	return s, harness.StartLoad(t, harness.TCPURL(ns, "web", foreignTCPPort), 100)
}

// bothPorts makes a Deployment of Service web that answers requests and connections.
func (s story) bothPorts(name string, annotations map[string]string) {
	s.T.Helper()
	d := harness.App{Name: name, Label: "web", Replicas: 2, Annotations: annotations,
		Ports: []harness.Port{{Name: "http", Number: 8080}, {Name: "tcp", Number: 9000}}}.Deployment()
	_, err := harness.Kube().AppsV1().Deployments(s.NS).Create(ctx, d, metav1.CreateOptions{})
	s.must(err)
}

func (s story) ruleName() string { return "theirs-" + s.NS }

// hide makes a DestinationRule for Service web, exported to the namespaces in exportTo.
func (s story) hide(namespace string, exportTo []string) {
	s.T.Helper()
	dr := &networkingv1.DestinationRule{ObjectMeta: metav1.ObjectMeta{Name: s.ruleName()}}
	dr.Spec.Host, dr.Spec.ExportTo = "web."+s.NS+".svc.cluster.local", exportTo
	dr.Spec.TrafficPolicy = &networking.TrafficPolicy{ConnectionPool: &networking.ConnectionPoolSettings{
		Tcp: &networking.ConnectionPoolSettings_TCPSettings{MaxConnections: 1000}}}
	_, err := harness.Istio().NetworkingV1().DestinationRules(namespace).Create(ctx, dr, metav1.CreateOptions{})
	s.must(err)
	s.T.Cleanup(func() {
		_ = harness.Istio().NetworkingV1().DestinationRules(namespace).Delete(ctx, s.ruleName(), metav1.DeleteOptions{})
	})
}

func (s story) changeRule(namespace string, connections int) {
	s.T.Helper()
	change, err := json.Marshal(map[string]any{"spec": map[string]any{"trafficPolicy": map[string]any{"connectionPool": map[string]any{"tcp": map[string]int{"maxConnections": 900 + connections}}}}})
	s.must(err)
	_, err = harness.Istio().NetworkingV1().DestinationRules(namespace).Patch(ctx, s.ruleName(), types.MergePatchType, change, metav1.PatchOptions{})
	s.must(err)
}

func (s story) reveal(namespace string) {
	s.T.Helper()
	s.must(harness.Istio().NetworkingV1().DestinationRules(namespace).Delete(ctx, s.ruleName(), metav1.DeleteOptions{}))
}

// disturbed waits until Programmed says what the routes do, and that a foreign rule keeps clients from them.
func (s story) disturbed(begins string) {
	s.T.Helper()
	harness.WaitDeployment(s.T, s.NS, "web-v2", fmt.Sprintf("Programmed is False with %s...", begins), func(d *appsv1.Deployment) bool {
		c := condition(d, "grayscale.dev/Programmed")
		return c.Status == "False" && c.Reason == "DestinationRuleConflict" && strings.HasPrefix(c.Message, begins) && strings.Contains(c.Message, "DestinationRule ")
	})
}
