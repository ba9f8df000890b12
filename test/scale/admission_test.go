package scale

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/annotator"
	"grayscale.dev/grayscale/observe/store"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/test/harness"
	"grayscale.dev/grayscale/test/yardstick"
	"grayscale.dev/grayscale/webhook"
)

// crowd is how many Deployments, or pods, make a namespace crowded.
const crowd = 1000

// BenchmarkAdmission is what one request costs in the webhook's handlers, with the caches that grayscale has, filled by
// the API server. Each namespace has one release. One has nothing else, one has 1,000 other Deployments with a Service
// each, and one has 1,000 pods behind the release's Service. They are asked in turns; empty-us is the median in the
// first, and the ratios are the medians of the others to it.
func BenchmarkAdmission(b *testing.B) {
	freezeOthers(b)
	client := kube(b)
	namespace(b, client, "grayscale-system")
	for _, name := range []string{"empty", "deployments", "pods"} {
		namespace(b, client, name)
		must(b, release(0).createIn(b.Context(), client, name))
	}
	var versions []*appsv1.Deployment
	for _, name := range []string{"web-0-v1", "web-0-v2"} {
		d, err := client.AppsV1().Deployments("pods").Get(b.Context(), name, metav1.GetOptions{})
		must(b, err)
		versions = append(versions, d)
	}
	var group errgroup.Group
	group.SetLimit(writers)
	for i := range crowd {
		group.Go(func() error { return bystander(b.Context(), client, i) })
		group.Go(func() error { return runPod(b.Context(), client, versions[i%2], 1+i) })
	}
	must(b, group.Wait())
	handlers := admissionHandlers(b)
	for _, bm := range []struct{ name, path string }{
		{"mutate/create", webhook.MutatePath}, {"mutate/annotate", webhook.MutatePath},
		{"validate/create", webhook.ValidatePath}, {"validate/annotate", webhook.ValidatePath},
	} {
		b.Run(bm.name, func(b *testing.B) {
			took := map[string][]time.Duration{}
			for b.Loop() {
				for _, ns := range []string{"empty", "deployments", "pods"} {
					req := question(b, ns, bm.name)
					begin := time.Now()
					answer := handlers[bm.path].Handle(b.Context(), req)
					took[ns] = append(took[ns], time.Since(begin))
					if !answer.Allowed {
						b.Fatal(answer.Result)
					}
				}
			}
			empty := yardstick.Median(took["empty"])
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(float64(empty.Nanoseconds())/1000, "empty-us")
			for _, ns := range []string{"deployments", "pods"} {
				b.ReportMetric(float64(yardstick.Median(took[ns]))/float64(empty), ns+"-ratio")
			}
		})
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// admissionHandlers are grayscale's, in this process, once the release of every namespace is programmed.
func admissionHandlers(b *testing.B) map[string]admission.Handler {
	b.Helper()
	ctrl.SetLogger(logr.Discard())
	scheme, config := runtime.NewScheme(), harness.Config()
	config.QPS = -1
	must(b, clientgoscheme.AddToScheme(scheme))
	must(b, networkingv1.AddToScheme(scheme))
	mgr, err := manager.New(config, manager.Options{Scheme: scheme, Metrics: server.Options{BindAddress: "0"}})
	must(b, err)
	settings := routing.Settings{Settle: time.Second, ClusterDomain: "cluster.local", RootNamespace: "istio-system"}
	known, err := store.New(mgr, nil, settings.ClusterDomain)
	must(b, err)
	must(b, mgr.Add(known))
	controller, err := annotator.Setup(mgr, annotator.Options{Store: known, Settings: settings})
	must(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	b.Cleanup(func() {
		cancel()
		must(b, <-ended)
	})
	for _, ns := range []string{"empty", "deployments", "pods"} {
		harness.WaitProgrammed(b, ns, "web-0-v2", "canary 10% of web-0")
	}
	return webhook.Handlers(controller, known, settings)
}

// question is about a Deployment as large as users make them: a candidate that is created beside the release's, or the
// release's with another weight.
func question(b *testing.B, ns, name string) admission.Request {
	b.Helper()
	annotations := map[string]string{intent.KeyStrategy: string(intent.Canary), intent.KeyWeight: "10"}
	app := harness.App{Name: "web-0-v3", Label: "web-0", Annotations: annotations}
	created := name == "mutate/create" || name == "validate/create"
	if !created {
		app.Name, app.PodLabels = "web-0-v2", map[string]string{"version": "v2"}
	}
	d := yardstick.Grow(b, *app.Deployment())
	d.Namespace = ns
	req := admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Namespace: ns, Name: d.Name, Operation: admissionv1.Create}}
	if !created {
		req.Operation, req.OldObject.Raw = admissionv1.Update, encoded(b, &d)
		d.Annotations = maps.Clone(d.Annotations)
		d.Annotations[intent.KeyWeight] = "20"
	}
	req.Object.Raw = encoded(b, &d)
	return req
}

func encoded(b *testing.B, d *appsv1.Deployment) []byte {
	b.Helper()
	raw, err := json.Marshal(d)
	must(b, err)
	return raw
}

// bystander is a Deployment of somebody else's with a Service, none of which has to do with the release.
func bystander(ctx context.Context, client kubernetes.Interface, i int) error {
	name := fmt.Sprintf("other-%d", i)
	d := harness.App{Name: name}.Deployment()
	if _, err := client.AppsV1().Deployments("deployments").Create(ctx, d, metav1.CreateOptions{}); err != nil {
		return err
	}
	_, err := client.CoreV1().Services("deployments").Create(ctx, harness.Service(name), metav1.CreateOptions{})
	return err
}
