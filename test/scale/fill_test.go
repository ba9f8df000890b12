package scale

import (
	"context"
	"fmt"
	"maps"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/test/harness"
)

const (
	perNamespace = 100 // releases
	node         = "elsewhere"
	hash         = "5d4f8c7b9d" // of every ReplicaSet
	writers      = 16
)

// release is the i-th one.
type release int

func (r release) namespace() string { return fmt.Sprintf("scale-%d", int(r)/perNamespace) }
func (r release) service() string   { return fmt.Sprintf("web-%d", int(r)) }

var filled int

func kube(b *testing.B) kubernetes.Interface {
	b.Helper()
	config := harness.Config()
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	return client
}

func namespace(b *testing.B, client kubernetes.Interface, name string) {
	b.Helper()
	_, err := client.CoreV1().Namespaces().Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		b.Fatal(err)
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}} // its controller stands still
	_, err = client.CoreV1().ServiceAccounts(name).Create(context.Background(), account, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		b.Fatal(err)
	}
}

// fill makes releases until there are so many, and gives how many it made.
func fill(b *testing.B, size int) int {
	b.Helper()
	client := kube(b)
	for r := release(filled); int(r) < size; r += perNamespace {
		namespace(b, client, r.namespace())
	}
	group, ctx := errgroup.WithContext(context.Background())
	group.SetLimit(writers)
	for r := release(filled); int(r) < size; r++ {
		group.Go(func() error { return r.create(ctx, client) })
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	added := size - filled
	filled = size
	return added
}

func (r release) create(ctx context.Context, client kubernetes.Interface) error {
	return r.createIn(ctx, client, r.namespace())
}

func (r release) createIn(ctx context.Context, client kubernetes.Interface, ns string) error {
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: r.service()}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": r.service()}, Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}}}}
	if _, err := client.CoreV1().Services(ns).Create(ctx, service, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := r.deploy(ctx, client, ns, "v1", nil); err != nil {
		return err
	}
	return r.deploy(ctx, client, ns, "v2", map[string]string{intent.KeyStrategy: string(intent.Canary), intent.KeyWeight: "10"})
}

// deploy makes a Deployment and the ready pod that its controllers would have made.
func (r release) deploy(ctx context.Context, client kubernetes.Interface, ns, version string, annotations map[string]string) error {
	name := r.service() + "-" + version
	d := harness.App{Name: name, Label: r.service(), Annotations: annotations, PodLabels: map[string]string{"version": version}}.Deployment()
	d, err := client.AppsV1().Deployments(ns).Create(ctx, d, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	return runPod(ctx, client, d, int(r))
}

// runPod makes a ready pod of a Deployment's, the n-th one.
func runPod(ctx context.Context, client kubernetes.Interface, d *appsv1.Deployment, n int) error {
	labels := maps.Clone(d.Spec.Template.Labels)
	labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	owner := metav1.NewControllerRef(&metav1.ObjectMeta{Name: d.Name + "-" + hash, UID: d.UID}, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%s-%05d", d.Name, hash, n), Labels: labels,
		OwnerReferences: []metav1.OwnerReference{*owner}}, Spec: d.Spec.Template.Spec}
	pod.Spec.NodeName = node
	pod, err := client.CoreV1().Pods(d.Namespace).Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	pod.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.%d.%d.%d", 100+n/62500, n/250%250, n%250+1),
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Now())}}}
	_, err = client.CoreV1().Pods(d.Namespace).UpdateStatus(ctx, pod, metav1.UpdateOptions{})
	return err
}

// list is how long the API server takes to list what grayscale lists, all at once, to a client that throws it away.
func list(b *testing.B) time.Duration {
	b.Helper()
	client, start := kube(b), time.Now()
	var group errgroup.Group
	for _, path := range []string{"/apis/apps/v1/deployments", "/api/v1/pods", "/api/v1/services",
		"/apis/networking.istio.io/v1/virtualservices", "/apis/networking.istio.io/v1/destinationrules"} {
		group.Go(func() error {
			_, err := client.Discovery().RESTClient().Get().AbsPath(path).SetHeader("Accept", "application/vnd.kubernetes.protobuf,application/json").
				Do(context.Background()).Raw()
			return err
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}
