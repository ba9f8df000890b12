package cluster

import (
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"
)

// node is what istiod reads of an Envoy's bootstrap.
type node struct {
	Node struct {
		ID       string `json:"id"`
		Metadata struct {
			InterceptionMode string            `json:"INTERCEPTION_MODE"`
			HTTPProxyPort    string            `json:"HTTP_PROXY_PORT"`
			InstanceIPs      string            `json:"INSTANCE_IPS"`
			Labels           map[string]string `json:"LABELS"`
		} `json:"metadata"`
	} `json:"node"`
}

func TestBootstraps(t *testing.T) {
	o := octet{number: 20}
	p := portsFrom("127.20.0.1", 15000)
	got := written(t, meshBootstrap(o, p))
	if got.Node.ID != "sidecar~10.20.0.2~mesh-client.default~default.svc.cluster.local" ||
		got.Node.Metadata.InterceptionMode != "NONE" || got.Node.Metadata.HTTPProxyPort != "15000" ||
		got.Node.Metadata.InstanceIPs != "10.20.0.2" {
		t.Errorf("sidecar: %+v", got)
	}
	got = written(t, gatewayBootstrap(o, p))
	if got.Node.ID != "router~10.20.0.3~lab-gateway.istio-system~istio-system.svc.cluster.local" ||
		got.Node.Metadata.InterceptionMode != "" || got.Node.Metadata.Labels["istio"] != "lab-gateway" {
		t.Errorf("gateway: %+v", got)
	}
}

func written(t *testing.T, b bootstrap) node {
	t.Helper()
	path := filepath.Join(t.TempDir(), "envoy.yaml")
	if err := b.write(path); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var n node
	if err := yaml.Unmarshal(raw, &n); err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	return n
}
