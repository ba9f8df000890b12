package admission

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

const (
	mutate   = "mutate.grayscale.dev"
	validate = "validate.grayscale.dev"
	drain    = "drain.grayscale.dev"
	precede  = "precede.grayscale.dev"
)

// calls counts how often the API server has asked each of the webhooks, by its own metrics.
func calls(t *testing.T) map[string]uint64 {
	t.Helper()
	raw, err := harness.Kube().Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	family, ok := families["apiserver_admission_webhook_admission_duration_seconds"]
	if !ok {
		t.Fatal("the API server has no metric of calls to webhooks")
	}
	out := map[string]uint64{}
	for _, m := range family.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "name" {
				out[l.GetValue()] += m.GetHistogram().GetSampleCount()
			}
		}
	}
	return out
}

// since are the webhooks that were called more often than before.
func since(t *testing.T, before map[string]uint64) string {
	t.Helper()
	now := calls(t)
	return counted(now[mutate]-before[mutate], now[validate]-before[validate], now[drain]-before[drain])
}

func counted(mutated, validated, drained uint64) string {
	return fmt.Sprintf("%s %d, %s %d, %s %d", mutate, mutated, validate, validated, drain, drained)
}

// Deployments without our annotations cost no call for any operation, except a Scale to zero, which carries no
// annotations. A Deployment that has them costs one call of each webhook.
func TestOtherDeploymentsCostNoCall(t *testing.T) {
	d := newDoor(t)
	deployments, ctx := d.kube.AppsV1().Deployments(d.ns), context.Background()
	d.mustCreate(t, candidate("web-v2"))
	before := calls(t)

	d.mustCreate(t, harness.App{Name: "other"}.Deployment())
	harness.WaitReady(t, d.ns, "other")
	for _, change := range []string{
		`{"metadata":{"annotations":{"team":"shop"}}}`,
		`{"spec":{"template":{"metadata":{"annotations":{"grayscale.dev/strategy":"canary"}}}}}`, // the pods', which are not the Deployment's
		`{"spec":{"replicas":2}}`,
	} {
		if _, err := deployments.Patch(ctx, "other", types.MergePatchType, []byte(change), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	scale := func(replicas int32) {
		to := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: "other", Namespace: d.ns}, Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
		if _, err := deployments.UpdateScale(ctx, "other", to, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	scale(1)
	harness.WaitReady(t, d.ns, "other")
	if got, want := since(t, before), counted(0, 0, 0); got != want {
		t.Errorf("a Deployment of others: %s", got)
	}
	scale(0)
	if err := deployments.Delete(ctx, "other", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, want := since(t, before), counted(0, 0, 1); got != want {
		t.Errorf("a Deployment of others at its end: %s", got)
	}

	d.mustCreate(t, candidate("web-v3"))
	if got, want := since(t, before), counted(1, 1, 1); got != want {
		t.Errorf("a candidate: %s", got)
	}
	if _, err := deployments.Patch(ctx, "web-v3", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"grayscale.dev/strategy":null}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if got, want := since(t, before), counted(2, 2, 1); got != want {
		t.Errorf("the end of its annotation: %s", got)
	}
}

// The webhooks are not called for grayscale's own writes: in a whole release, only for the users' writes.
func TestOwnWritesCostNoCall(t *testing.T) {
	d := newDoor(t)
	d.mustCreate(t, plain("web-v1"))
	harness.WaitReady(t, d.ns, "web-v1")
	before := calls(t)
	d.mustCreate(t, candidate("web-v2", "weight", "10"))
	harness.WaitProgrammed(t, d.ns, "web-v2", "canary 10% of web")
	if got, want := since(t, before), counted(1, 1, 0); got != want {
		t.Errorf("a release with one write of its user: %s", got)
	}
	// Annotations alone change no pod template, so the mutating webhook is not called.
	if _, err := d.kube.AppsV1().Deployments(d.ns).Patch(context.Background(), "web-v2", types.MergePatchType,
		[]byte(`{"metadata":{"annotations":{"grayscale.dev/weight":"20"}}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	harness.WaitProgrammed(t, d.ns, "web-v2", "canary 20% of web")
	if got, want := since(t, before), counted(1, 2, 0); got != want {
		t.Errorf("another weight: %s", got)
	}
}

// A DestinationRule for a host outside of the cluster costs no call, nor does a change that is none; and
// one for a Service without a release is answered at once.
func TestOtherRulesCostNoCall(t *testing.T) {
	d, ctx := newDoor(t), context.Background()
	rules := harness.Istio().NetworkingV1().DestinationRules(d.ns)
	before := calls(t)[precede]
	for name, host := range map[string]string{"outside": "api.example.com", "inside": "nobody"} {
		dr := &networkingv1.DestinationRule{ObjectMeta: metav1.ObjectMeta{Name: name}}
		dr.Spec.Host = host
		if _, err := rules.Create(ctx, dr, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if _, err := rules.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"labels":{"team":"shop"}}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if got := calls(t)[precede] - before; got != 1 {
		t.Errorf("%d calls, want one, for the rule about a Service", got)
	}
	begun := time.Now()
	if err := rules.Delete(ctx, "inside", metav1.DeleteOptions{}); err != nil || time.Since(begun) > time.Second {
		t.Errorf("the deletion took %s: %v", time.Since(begun), err)
	}
}

// The namespaces that a cluster needs to run never wait for the webhook.
func TestSystemNamespacesAreLeftAlone(t *testing.T) {
	for _, ns := range []string{"kube-system", "grayscale-system"} {
		_, err := harness.Kube().AppsV1().Deployments(ns).Create(context.Background(), candidate("web-v2", "weight", "150"),
			metav1.CreateOptions{DryRun: dryRun})
		if err != nil {
			t.Errorf("%s: %v", ns, err)
		}
	}
}

// withoutWebhook runs a function while no replica of grayscale runs, and then starts the replicas again.
func withoutWebhook(t *testing.T, do func()) {
	t.Helper()
	installed, err := harness.Kube().AppsV1().Deployments("grayscale-system").Get(context.Background(), "grayscale", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	scale := func(replicas int32) {
		harness.Kubectl(t, "", "-n", "grayscale-system", "scale", "deploy/grayscale", fmt.Sprintf("--replicas=%d", replicas))
	}
	scale(0)
	defer func() {
		scale(*installed.Spec.Replicas)
		harness.WaitReady(t, "grayscale-system", "grayscale")
		harness.Eventually(t, "the webhook answers again", func() error {
			for range certainly {
				_, err := harness.Kube().AppsV1().Deployments("default").Create(context.Background(), candidate("web-v2", "weight", "150"),
					metav1.CreateOptions{DryRun: dryRun})
				if err == nil {
					return fmt.Errorf("a wrong weight is admitted")
				}
			}
			return nil
		})
	}()
	harness.WaitDeployment(t, "grayscale-system", "grayscale", "no replica is left", func(o *appsv1.Deployment) bool {
		return o.Status.ObservedGeneration >= o.Generation && o.Status.Replicas == 0
	})
	harness.Eventually(t, "the pods are gone", func() error {
		list, err := harness.Kube().CoreV1().Pods("grayscale-system").List(context.Background(), metav1.ListOptions{})
		if err == nil && len(list.Items) > 0 {
			return fmt.Errorf("%d pods are left", len(list.Items))
		}
		return err
	})
	do()
}

// Without the webhook every Deployment is admitted, even a wrong one: failurePolicy is Ignore.
func TestWebhookDown(t *testing.T) {
	d := newDoor(t)
	withoutWebhook(t, func() {
		made := d.mustCreate(t, candidate("web-v2", "weight", "150"))
		if made.Spec.Paused {
			t.Error("somebody holds it")
		}
		d.mustCreate(t, plain("other"))
	})
}
