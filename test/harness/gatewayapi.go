package harness

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gatewayAPIs are the resources of the Gateway API whose routes may have a Service as parent.
var gatewayAPIs = []string{"httproutes", "grpcroutes", "tcproutes"}

// InstallGatewayAPI makes the API server serve the Gateway API's routes, with the definitions of its release, until
// RemoveGatewayAPI. Several tests may call it at once.
func InstallGatewayAPI(t testing.TB) {
	t.Helper()
	// The Go module with the API's types, which the product uses, also has the definitions.
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		t.Fatalf("where the Gateway API's module is: %v", err)
	}
	args := []string{"apply", "--server-side", "--force-conflicts"} // client-side apply would exceed the limit of annotations
	for _, resource := range gatewayAPIs {
		args = append(args, "-f", filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", "standard", "gateway.networking.k8s.io_"+resource+".yaml"))
	}
	Kubectl(t, "", args...)
	WaitEstablished(t, gatewayDefinitions()...)
}

// RemoveGatewayAPI removes the definitions that InstallGatewayAPI made, and all routes with them.
func RemoveGatewayAPI(t testing.TB) {
	t.Helper()
	Kubectl(t, "", append([]string{"delete", "crd", "--ignore-not-found"}, gatewayDefinitions()...)...)
}

func gatewayDefinitions() []string {
	var out []string
	for _, resource := range gatewayAPIs {
		out = append(out, resource+".gateway.networking.k8s.io")
	}
	return out
}

// MeshRoute is a route of the Gateway API, in YAML, with a Service as parent. It sends all traffic to another Service
// of the same namespace.
func MeshRoute(kind, namespace, name, of, parent, backend string) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: %s
metadata: {namespace: %s, name: %s}
spec:
  parentRefs: [{group: "", kind: Service, namespace: %s, name: %s}]
  rules: [{backendRefs: [{namespace: %s, name: %s, port: 80}]}]
`, kind, namespace, name, of, parent, of, backend)
}
