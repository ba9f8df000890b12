package live

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/test/harness"
)

const (
	// mostWrites is more than a release takes until it is programmed; the test fails where it is not.
	mostWrites = 30
	// atOnce is how many crashes are tried at the same time.
	atOnce = 4
)

// A running Deployment becomes stable without a restart, wherever the controller crashes on the way.
func TestAdoptionSurvivesACrashAfterAnyWrite(t *testing.T) {
	t.Parallel()
	var enough atomic.Bool
	for first := int64(0); !enough.Load(); first += atOnce {
		if first > mostWrites {
			t.Fatalf("the release is not programmed after %d writes", mostWrites)
		}
		t.Run(fmt.Sprintf("from %d", first), func(t *testing.T) {
			for allowed := first; allowed < first+atOnce; allowed++ {
				t.Run(fmt.Sprintf("%d writes", allowed), func(t *testing.T) {
					t.Parallel()
					if adoptWithCrash(t, allowed) {
						t.Log("so many writes are enough for the release to be programmed")
						enough.Store(true)
					}
				})
			}
		})
		if t.Failed() {
			return
		}
	}
}

// adoptWithCrash reports whether that many writes were enough without a crash.
func adoptWithCrash(t *testing.T, allowed int64) (enough bool) {
	s := open(t)
	before := harness.PodUIDs(t, s.namespace, "release=web")
	s.canary()
	first := start(t, s.namespace, allowed, nil)
	programmed := make(chan struct{})
	watching, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(programmed)
		for watching.Err() == nil && !isProgrammed(s) {
			time.Sleep(20 * time.Millisecond)
		}
	}()
	select {
	case <-first.writes.broken:
	case <-programmed:
		enough = true
	case <-time.After(harness.Patience):
		t.Errorf("after %d writes: neither programmed nor broken", allowed)
	}
	cancel()
	<-programmed
	first.stop(t)
	if !enough {
		second := start(t, s.namespace, unlimited, nil)
		defer second.stop(t)
	}
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	adopted := harness.WaitDeployment(t, s.namespace, "web", "the adoption is over", func(d *appsv1.Deployment) bool {
		return !d.Spec.Paused && d.Annotations["grayscale.dev/held"] == "" && d.Status.ObservedGeneration == d.Generation
	})
	if adopted.Spec.Template.Labels["version"] != "web" {
		t.Errorf("after %d writes: the template has labels %v, want version=web", allowed, adopted.Spec.Template.Labels)
	}
	if sets := s.sets("web"); len(sets) != 1 {
		t.Errorf("after %d writes: %d ReplicaSets, want the one that there was", allowed, len(sets))
	}
	if after := harness.PodUIDs(t, s.namespace, "release=web,version=web"); !maps.Equal(before, after) {
		t.Errorf("after %d writes: the pods are %v, want labelled ones of %v", allowed, after, before)
	}
	if n := harness.Restarts(t, s.namespace, "release=web"); n != 0 {
		t.Errorf("after %d writes: %d restarts", allowed, n)
	}
	return enough
}

func isProgrammed(s shop) bool {
	d, err := harness.Kube().AppsV1().Deployments(s.namespace).Get(context.Background(), "web-v2", metav1.GetOptions{})
	if err != nil {
		return false
	}
	for _, c := range d.Status.Conditions {
		if c.Type == "grayscale.dev/Programmed" && c.Status == "True" {
			return true
		}
	}
	return false
}

// An adoption that is not wanted any more is finished all the same: unpausing a half-labelled Deployment restarts it.
func TestAdoptionGivenUpHalfWayRestartsNothing(t *testing.T) {
	t.Parallel()
	for _, allowed := range []int64{1, 2, 3, 4} {
		t.Run(fmt.Sprintf("%d writes", allowed), func(t *testing.T) {
			t.Parallel()
			s := open(t)
			before := harness.PodUIDs(t, s.namespace, "release=web")
			s.canary()
			first := start(t, s.namespace, allowed, nil)
			<-first.writes.broken
			first.stop(t)
			s.must(harness.Kube().AppsV1().Deployments(s.namespace).Delete(context.Background(), "web-v2", metav1.DeleteOptions{}))
			start(t, s.namespace, unlimited, nil)
			harness.WaitDeployment(t, s.namespace, "web", "nothing of ours pauses it", func(d *appsv1.Deployment) bool {
				return !d.Spec.Paused && d.Annotations["grayscale.dev/held"] == "" && d.Status.ObservedGeneration == d.Generation
			})
			time.Sleep(settle) // a rollout would begin now
			if after := harness.PodUIDs(t, s.namespace, "release=web"); !maps.Equal(before, after) {
				t.Errorf("given up after %d writes: the pods are %v, want %v", allowed, after, before)
			}
		})
	}
}

// A pause of the user's outlives the adoption.
func TestAdoptionLeavesAUsersPause(t *testing.T) {
	t.Parallel()
	s := open(t)
	before := harness.PodUIDs(t, s.namespace, "release=web")
	s.patch("web", `{"spec":{"paused":true}}`)
	s.canary()
	start(t, s.namespace, unlimited, nil)
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	if d := s.deployment("web"); !d.Spec.Paused || d.Spec.Template.Labels["version"] != "web" {
		t.Errorf("paused=%v, template labels %v; want still paused, and labelled", d.Spec.Paused, d.Spec.Template.Labels)
	}
	s.patch("web", `{"spec":{"paused":null}}`)
	harness.WaitReady(t, s.namespace, "web")
	if after := harness.PodUIDs(t, s.namespace, "release=web"); !maps.Equal(before, after) {
		t.Errorf("unpaused by the user: the pods are %v, want %v", after, before)
	}
}

// A re-apply that drops the template's label, with the webhook off, starts a rollout; it is turned back at once.
func TestDroppedLabelIsGivenBack(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.canary()
	start(t, s.namespace, unlimited, nil)
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	harness.WaitReady(t, s.namespace, "web")
	labelled := s.sets("web")[0].Name
	s.patch("web", `{"spec":{"template":{"metadata":{"labels":{"version":null}}}}}`)
	harness.WaitDeployment(t, s.namespace, "web", "it has its label back", func(d *appsv1.Deployment) bool {
		return d.Spec.Template.Labels["version"] == "web" && d.Status.ObservedGeneration == d.Generation && !d.Spec.Paused
	})
	harness.WaitReady(t, s.namespace, "web")
	for _, set := range s.sets("web") {
		if want := map[bool]int32{true: 2, false: 0}[set.Name == labelled]; *set.Spec.Replicas != want {
			t.Errorf("ReplicaSet %s has %d replicas, want %d", set.Name, *set.Spec.Replicas, want)
		}
	}
}

// Pods of a rollout without the label get it at once, whatever the Deployments still wait for, their own and the one
// before it, and whatever else is written to the pods meanwhile: the pods that have the label are going.
func TestPodsAreLabelledBeforeTheirRolloutIsStopped(t *testing.T) {
	t.Parallel()
	s := open(t)
	s.canary()
	var blocked atomic.Bool
	var others atomic.Int64
	start(t, s.namespace, unlimited, func(r *http.Request) {
		if !blocked.Load() || r.Method != http.MethodPatch {
			return
		}
		change := fmt.Sprintf(`{"metadata":{"annotations":{"other":"%d"}}}`, others.Add(1))
		switch kind, name := path.Split(strings.TrimPrefix(r.URL.Path, "/apis/apps/v1/namespaces/"+s.namespace)); {
		case kind == "/deployments/": // no adoption gets as far as its pause
			s.patch(name, change)
		case strings.HasSuffix(kind, "/pods/"):
			_, err := harness.Kube().CoreV1().Pods(s.namespace).Patch(context.Background(), name, types.MergePatchType, []byte(change), metav1.PatchOptions{})
			s.must(client.IgnoreNotFound(err))
		}
	})
	harness.WaitProgrammed(t, s.namespace, "web-v2", "canary 10% of web")
	versions := map[string]string{"web": "web", "web-v2": "v2"}
	for name, version := range versions {
		harness.WaitDeployment(t, s.namespace, name, "its template has the label", func(d *appsv1.Deployment) bool {
			return d.Spec.Template.Labels["version"] == version && !d.Spec.Paused && d.Status.ObservedGeneration == d.Generation
		})
	}
	blocked.Store(true)
	for name := range versions {
		s.patch(name, `{"spec":{"template":{"metadata":{"labels":{"version":null}}}}}`)
	}
	for name, version := range versions {
		harness.Eventually(t, "the pods of "+name+" have the label that their Deployment lost", func() error {
			all := harness.PodUIDs(t, s.namespace, "release="+name)
			labelled := harness.PodUIDs(t, s.namespace, "release="+name+",version="+version)
			rolled := slices.ContainsFunc(s.sets(name), func(set appsv1.ReplicaSet) bool {
				return set.Spec.Template.Labels["version"] == "" && set.Status.Replicas == *s.deployment(name).Spec.Replicas
			})
			if !rolled || !maps.Equal(all, labelled) {
				return fmt.Errorf("rolled out: %t, pods %v, labelled ones %v", rolled, all, labelled)
			}
			return nil
		})
		if d := s.deployment(name); d.Spec.Paused || d.Spec.Template.Labels["version"] != "" {
			t.Errorf("%s is paused (%t) or has its label back: %v; nothing stood in the way", name, d.Spec.Paused, d.Spec.Template.Labels)
		}
	}
	blocked.Store(false)
	for name := range versions {
		harness.WaitDeployment(t, s.namespace, name, "it has its label back", func(d *appsv1.Deployment) bool {
			return d.Spec.Template.Labels["version"] != "" && !d.Spec.Paused
		})
	}
}
