package harness

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Patience is how long this package waits: many times the promised time, for machines busy with builds.
const Patience = 2 * time.Minute

// WaitDeployment watches until the Deployment is as wanted, and returns it. what describes that in the failure message.
func WaitDeployment(t testing.TB, namespace, name, what string, wanted func(*appsv1.Deployment) bool) *appsv1.Deployment {
	t.Helper()
	var last *appsv1.Deployment
	err := eventually(deployments(namespace, name), &appsv1.Deployment{}, func(e watch.Event) (bool, error) {
		d, ok := e.Object.(*appsv1.Deployment)
		if !ok || e.Type == watch.Deleted {
			return false, nil
		}
		last = d
		return wanted(d), nil
	})
	if err != nil {
		t.Fatalf("Deployment %s/%s: waiting until %s: %v; it was last %s", namespace, name, what, err, describe(last))
	}
	return last
}

// describe is a summary of a Deployment for failure messages.
func describe(d *appsv1.Deployment) string {
	if d == nil {
		return "not there"
	}
	return fmt.Sprintf("paused=%v replicas=%d ready=%d annotations=%v conditions=%v",
		d.Spec.Paused, d.Status.Replicas, d.Status.ReadyReplicas, d.Annotations, d.Status.Conditions)
}

func deployments(namespace, name string) cache.ListerWatcher {
	client := Kube().AppsV1().Deployments(namespace)
	only := fields.OneTermEqualSelector(metav1.ObjectNameField, name).String()
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.FieldSelector = only
			return client.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.FieldSelector = only
			return client.Watch(ctx, o)
		},
	}
}

// eventually follows a watch from the present state on until a condition holds, or Patience is over.
func eventually(of cache.ListerWatcher, kind runtime.Object, condition watchtools.ConditionFunc) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	_, err := watchtools.UntilWithSync(ctx, of, kind, nil, condition)
	return err
}

// WaitReady waits until all replicas of the Deployment are ready and no others exist.
func WaitReady(t testing.TB, namespace, name string) *appsv1.Deployment {
	t.Helper()
	return WaitDeployment(t, namespace, name, "all its pods are ready", func(d *appsv1.Deployment) bool {
		return d.Status.ObservedGeneration >= d.Generation && !d.Spec.Paused && d.Status.Replicas == *d.Spec.Replicas &&
			d.Status.UpdatedReplicas == *d.Spec.Replicas && d.Status.ReadyReplicas == *d.Spec.Replicas
	})
}

// WaitProgrammed waits until the condition grayscale.dev/Programmed has that message, True or not.
func WaitProgrammed(t testing.TB, namespace, name, message string) {
	t.Helper()
	WaitDeployment(t, namespace, name, fmt.Sprintf("condition grayscale.dev/Programmed says %q", message), func(d *appsv1.Deployment) bool {
		return slices.ContainsFunc(d.Status.Conditions, func(c appsv1.DeploymentCondition) bool {
			return c.Type == "grayscale.dev/Programmed" && c.Message == message
		})
	})
}

// WaitCondition waits until a condition of the Deployment has a status and a message that contains a text, and returns
// the message.
func WaitCondition(t testing.TB, namespace, name, kind, status, text string) string {
	t.Helper()
	message := ""
	WaitDeployment(t, namespace, name, fmt.Sprintf("condition %s is %s with %q", kind, status, text), func(d *appsv1.Deployment) bool {
		for _, c := range d.Status.Conditions {
			if string(c.Type) == kind && string(c.Status) == status && strings.Contains(c.Message, text) {
				message = c.Message
				return true
			}
		}
		return false
	})
	return message
}

// Eventually polls until check returns nil; its last error is the failure. Use it where nothing can be watched, as for
// Envoy's behaviour.
func Eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	limit := time.Now().Add(Patience)
	err := check()
	for ; err != nil && time.Now().Before(limit); err = check() {
		time.Sleep(pollPause)
	}
	if err != nil {
		t.Fatalf("%s: not within %s: %v", what, Patience, err)
	}
}
