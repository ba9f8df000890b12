// Package validation shows what grayscale writes to Istio's own code: its validation, and the generators with which
// istiod turns objects into Envoy's configuration. It reads the golden files of the main module, whose packages it does
// not import.
package validation

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	meshconfig "istio.io/api/mesh/v1alpha1"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pilot/test/xds"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/mesh"
	"istio.io/istio/pkg/config/schema/gvk"
)

const (
	fqdn      = "reviews.shop.svc.cluster.local"
	clusterIP = "10.96.0.7"
	stable    = "v1"
)

// example is a golden file of routing/istio: a Service, users' rules, our rule, and our routes for several asks.
type example struct {
	Service struct {
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
		Ports     []port `json:"ports"`
	} `json:"service"`
	Others []map[string]any `json:"others"`
	// Hides are users' rules that come after ours, and take its subsets from some clients.
	Hides  []map[string]any `json:"hides"`
	Rule   map[string]any   `json:"rule"`
	Routes []ask            `json:"routes"`
}

type port struct {
	Name        string `json:"name"`
	Number      int32  `json:"number"`
	Protocol    string `json:"protocol"`
	AppProtocol string `json:"appProtocol"`
}

// ask is a wish and the VirtualService that grants it. Shares are hundredths of a percent.
type ask struct {
	Traffic struct {
		Weights []weight `json:"weights"`
		Mirrors []weight `json:"mirrors"`
	} `json:"traffic"`
	VirtualService map[string]any `json:"virtualService"`
}

type weight struct {
	Version string `json:"version"`
	Share   uint32 `json:"share"`
}

// examples are all golden files of routing/istio, by name.
func examples(t *testing.T) map[string]example {
	t.Helper()
	return examplesIn(t, "../../../routing/istio/testdata/*.yaml")
}

func examplesIn(t *testing.T, pattern string) map[string]example {
	t.Helper()
	out := map[string]example{}
	for _, file := range glob(t, pattern) {
		var e example
		readYAML(t, file, &e)
		if e.Service.Name != "reviews" || e.Service.Namespace != "shop" || len(e.Routes) == 0 {
			t.Fatalf("%s does not look like an example", file)
		}
		out[strings.TrimSuffix(filepath.Base(file), ".yaml")] = e
	}
	return out
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no file matches %s: %v", pattern, err)
	}
	return files
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(raw, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// parsed is an object in istiod's own form; parsing validates it.
func parsed(t *testing.T, object map[string]any) config.Config {
	t.Helper()
	raw, err := yaml.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return parsedYAML(t, string(raw))
}

func parsedYAML(t *testing.T, text string) config.Config {
	t.Helper()
	configs, unknown, err := crd.ParseInputs(text)
	if err != nil || len(unknown) > 0 || len(configs) != 1 {
		t.Fatalf("%d objects, unknown %v, %v in\n%s", len(configs), unknown, err, text)
	}
	return configs[0]
}

// theDayBefore is when users' objects were created, and now when ours were, unless a test says otherwise.
var (
	now          = time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	theDayBefore = now.Add(-24 * time.Hour)
)

func created(c config.Config, at time.Time) config.Config {
	c.CreationTimestamp = at
	c.Domain = "cluster.local"
	return c
}

func (e example) others(t *testing.T) []config.Config {
	t.Helper()
	var out []config.Config
	for _, o := range e.Others {
		out = append(out, created(parsed(t, o), theDayBefore))
	}
	return out
}

func (e example) rule(t *testing.T) config.Config { return created(parsed(t, e.Rule), now) }

func (a ask) routes(t *testing.T) config.Config { return created(parsed(t, a.VirtualService), now) }

// object is the Service as Kubernetes has it.
func (e example) object() *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: e.Service.Namespace, Name: e.Service.Name},
		Spec: corev1.ServiceSpec{ClusterIP: clusterIP, Selector: map[string]string{"app": "reviews"}}}
	for _, p := range e.Service.Ports {
		sp := corev1.ServicePort{Name: p.Name, Port: p.Number, Protocol: corev1.Protocol(p.Protocol)}
		if p.Protocol == "" {
			sp.Protocol = corev1.ProtocolTCP
		}
		if p.AppProtocol != "" {
			sp.AppProtocol = &p.AppProtocol
		}
		s.Spec.Ports = append(s.Spec.Ports, sp)
	}
	return s
}

// istiod is a discovery server over the Service, another one that makes port 80 known to every Envoy, and the configs.
func istiod(t *testing.T, s *corev1.Service, configs ...config.Config) *xds.FakeDiscoveryServer {
	t.Helper()
	return istiodOf(t, mesh.DefaultMeshConfig(), s, configs...)
}

func istiodOf(t *testing.T, m *meshconfig.MeshConfig, s *corev1.Service, configs ...config.Config) *xds.FakeDiscoveryServer {
	t.Helper()
	return xds.NewFakeDiscoveryServer(t, xds.FakeOptions{MeshConfig: m, KubernetesObjects: besides(s), Configs: configs})
}

// besides are the Service, another one that makes port 80 known to every Envoy, and the objects.
func besides(s *corev1.Service, objects ...runtime.Object) []runtime.Object {
	neighbour := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "bank", Name: "accounts"},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.8", Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}}}
	return append(objects, s, neighbour)
}

// client is a sidecar in the namespace, whose traffic iptables redirects.
func client(namespace string) *model.Proxy {
	return &model.Proxy{ConfigNamespace: namespace, Labels: map[string]string{"app": "client"},
		Metadata: &model.NodeMetadata{Namespace: namespace, Labels: map[string]string{"app": "client"}}}
}

// proxyClient is a sidecar that its application uses as an HTTP proxy, or by its ports on a loopback address.
func proxyClient(namespace string) *model.Proxy {
	p := client(namespace)
	p.Metadata.HTTPProxyPort = "15080"
	p.Metadata.InterceptionMode = model.InterceptionNone
	return p
}

func isVirtualService(c config.Config) bool { return c.GroupVersionKind == gvk.VirtualService }
