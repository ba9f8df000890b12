package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

const (
	// loadRate is in requests per second, for the whole length of a story.
	loadRate = 100
	// convergence bounds the time from the end of a fault to the last write. The promise is 10 s; three times that allows
	// for a machine on which every write takes a second.
	convergence = 30 * time.Second
	// silence is longer than grayscale waits between any two writes (--settle is 2 s).
	silence = 2500 * time.Millisecond
	derived = "web-grayscale"
)

var ctx = context.Background()

// story is a namespace with Service web, web-v1 behind it, a neighbour that has no release, and load.
type story struct {
	harness.Story
	port    int // of Service web
	history *harness.History
	load    *harness.Load
	before  int // writes until everything stood
}

// begin creates the scene, and starts the load on Service web.
func begin(t *testing.T) story {
	t.Helper()
	return beginOn(t, 80)
}

// beginOn is begin with another port for Service web.
func beginOn(t *testing.T, port int) story {
	t.Helper()
	s := sceneOn(t, port)
	s.load = s.startLoad("web")
	return s
}

// scene is begin without the load.
func scene(t *testing.T) story {
	t.Helper()
	return sceneOn(t, 80)
}

func sceneOn(t *testing.T, port int) story {
	t.Helper()
	s := story{Story: harness.NewStory(t), port: port}
	harness.WaitMesh(t, s.NS)
	s.URL, s.history = harness.URL(s.NS, "web", port), harness.Record(t, s.NS)
	for _, service := range []string{"web", "other"} {
		s.service(service)
	}
	s.deploy("web", "web-v1", 2, nil)
	s.deploy("other", "other", 1, nil)
	harness.WaitReady(t, s.NS, "web-v1")
	harness.WaitReady(t, s.NS, "other")
	harness.WaitServed(t, s.URL)
	harness.WaitServed(t, harness.URL(s.NS, "other", 80))
	s.before = len(s.history.Writes(nil))
	return s
}

func (s story) must(err error) {
	s.T.Helper()
	if err != nil {
		s.T.Fatal(err)
	}
}

func (s story) service(name string) {
	s.T.Helper()
	port := harness.Port{Name: "http", Number: int32(s.portOf(name))}
	_, err := harness.Kube().CoreV1().Services(s.NS).Create(ctx, harness.Service(name, port), metav1.CreateOptions{})
	s.must(err)
}

func (s story) portOf(service string) int {
	if service == "web" {
		return s.port
	}
	return 80
}

func (s story) startLoad(service string) *harness.Load {
	s.T.Helper()
	url := harness.URL(s.NS, service, s.portOf(service))
	harness.WaitServed(s.T, url)
	return harness.StartLoad(s.T, url, loadRate)
}

func (s story) deploy(app, name string, replicas int32, annotations map[string]string) {
	s.T.Helper()
	d := harness.App{Name: name, Label: app, Replicas: replicas, Annotations: annotations}.Deployment()
	_, err := harness.Kube().AppsV1().Deployments(s.NS).Create(ctx, d, metav1.CreateOptions{FieldManager: "kubectl-create"})
	s.must(err)
}

// apply makes a candidate with a share of Service web's requests.
func (s story) apply(name string, weight int) {
	s.T.Helper()
	s.deploy("web", name, 2, map[string]string{"grayscale.dev/strategy": "canary", "grayscale.dev/weight": fmt.Sprint(weight)})
}

// canary applies web-v2 and waits until it has its share.
func (s story) canary(weight int) {
	s.T.Helper()
	s.apply("web-v2", weight)
	s.programmed("web-v2", weight)
}

// weigh annotates web-v2 with a weight.
func (s story) weigh(weight int) {
	s.T.Helper()
	s.Annotate("web-v2", fmt.Sprintf("weight=%d", weight))
}

// programmed waits until a canary's condition says that Istio has its routes.
func (s story) programmed(deployment string, weight int) {
	s.T.Helper()
	want := fmt.Sprintf("canary %d%% of web", weight)
	harness.WaitDeployment(s.T, s.NS, deployment, "Programmed is True with "+want, func(d *appsv1.Deployment) bool {
		c := condition(d, "grayscale.dev/Programmed")
		return c.Status == "True" && c.Message == want
	})
}

func condition(d *appsv1.Deployment, kind string) appsv1.DeploymentCondition {
	for _, c := range d.Status.Conditions {
		if string(c.Type) == kind {
			return c
		}
	}
	return appsv1.DeploymentCondition{}
}

func (s story) patchRoutes(change string) {
	s.T.Helper()
	_, err := harness.Istio().NetworkingV1().VirtualServices(s.NS).Patch(ctx, derived, types.MergePatchType, []byte(change),
		metav1.PatchOptions{FieldManager: "kubectl-edit"})
	s.must(err)
}

// written waits for a write to a derived object that comes after those seen before.
func (s story) written(kind string, before int, wanted func(harness.Write) bool) harness.Write {
	s.T.Helper()
	var found harness.Write
	harness.Eventually(s.T, "a write to "+kind+" "+derived, func() error {
		all := s.history.Writes(nil)
		for _, w := range all[before:] {
			if w.Kind == kind && w.Name == derived && wanted(w) {
				found = w
				return nil
			}
		}
		return fmt.Errorf("none among the %d since", len(all)-before)
	})
	return found
}

// end checks at the end of every story that the last write came soon after the fault, that the neighbour was not
// touched, no subset was ever missing, and no request was lost.
func (s story) end(fault time.Time) {
	s.T.Helper()
	s.quiet(fault)
	s.whole()
	s.neighbourUntouched()
	if s.load != nil {
		r := s.load.AssertNoneLost(s.T)
		s.T.Logf("%d requests sent, %d lost", r.Sent, r.Lost)
	}
}

// quiet waits until nothing has been written for a while.
func (s story) quiet(fault time.Time) {
	s.T.Helper()
	last := harness.Write{At: fault}
	harness.Eventually(s.T, "nothing is written any more", func() error {
		if all := s.history.Writes(nil); len(all) > 0 && all[len(all)-1].At.After(fault) {
			last = all[len(all)-1]
		}
		if time.Since(last.At) < silence {
			return fmt.Errorf("the last write, to %s %s, was %s ago", last.Kind, last.Name, time.Since(last.At))
		}
		return nil
	})
	took := last.At.Sub(fault)
	s.T.Logf("the last write came %s after the fault was over", took.Round(10*time.Millisecond))
	if took > convergence {
		s.T.Errorf("%s %s was written %s after the fault was over, want the last write within %s", last.Kind, last.Name, took, convergence)
	}
}

// whole fails the test if a subset was ever missing.
func (s story) whole() {
	s.T.Helper()
	for _, b := range s.history.Breaches() {
		s.T.Errorf("from revision %d on, subset %s was routed to and missing in the DestinationRule (for %s, still: %t)", b.Revision, b.Subset, b.Until.Sub(b.Since), b.Open)
	}
}

func (s story) neighbourUntouched() {
	s.T.Helper()
	for _, w := range s.history.Writes(nil)[s.before:] {
		if strings.HasPrefix(w.Name, "other") {
			s.T.Errorf("%s %s, which has nothing to do with the release, was written", w.Kind, w.Name)
		}
	}
}

// restarts sums up those of grayscale's own containers.
func restarts(t *testing.T) int {
	t.Helper()
	return harness.Restarts(t, "grayscale-system", "app.kubernetes.io/name=grayscale")
}
