package cluster

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"time"
)

// The last octets of the lab's own loopback addresses 127.X.0.*; Pods start at 127.X.1.1.
const (
	ownLast   = 1 // the components, unless --base-port puts them on 127.0.0.1
	meshLast  = 2 // the mesh client's listeners of Service ports
	usageLast = 4 // the metrics API; 10.X.0.3 is the gateway's in the API
)

// usagePort is where the metrics API listens: its address is this lab's alone.
const usagePort = 4443

// serviceRange is the range of cluster IPs: nothing in a lab ever connects to one.
const serviceRange = "172.30.0.0/16"

// lab is one lab while it comes up and runs.
type lab struct {
	options  Options
	dir      directory
	octet    octet
	ports    ports
	family   *family
	progress *progress
	self     string // the path of this binary: every component of Go is a process of it
	envoy    string // the path of Envoy's binary
}

func (l *lab) egressSocket() string {
	return fmt.Sprintf("@grayscale-lab-%d-%d", os.Getpid(), l.octet.number)
}

// spawn starts a component of the control plane. On a real cluster it has machines of its own; here it waits for what
// carries requests (nice: Envoys, pods and load have ten times its weight), so that a busy machine makes changes late,
// not requests.
func (l *lab) spawn(component string, env []string, args ...string) error {
	return l.family.start(component, l.dir.log(component), env, "nice", append([]string{"-n", "10", l.self, component}, args...)...)
}

func (l *lab) startEtcd() error {
	return l.spawn("etcd", nil, "--dir", l.dir.etcd(),
		"--client-url", l.ports.url("http", l.ports.etcdClient), "--peer-url", l.ports.url("http", l.ports.etcdPeer))
}

func (l *lab) startAPIServer() error {
	selector := fmt.Sprintf(`apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport: {uds: {udsName: %q}}
`, l.egressSocket())
	if err := os.WriteFile(l.dir.config("egress.yaml"), []byte(selector), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(l.dir.config("audit.yaml"), auditPolicy, 0o600); err != nil {
		return err
	}
	return l.spawn("kube-apiserver", nil,
		"--etcd-servers="+l.ports.url("http", l.ports.etcdClient),
		"--bind-address="+l.ports.host, "--secure-port="+strconv.Itoa(l.ports.apiServer),
		"--tls-cert-file="+l.dir.config("apiserver.crt"), "--tls-private-key-file="+l.dir.config("apiserver.key"),
		"--token-auth-file="+l.dir.config("tokens.csv"), "--authorization-mode=RBAC", "--anonymous-auth=false",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+l.dir.config("accounts.key"),
		"--service-account-signing-key-file="+l.dir.config("accounts.key"),
		"--service-cluster-ip-range="+serviceRange, "--endpoint-reconciler-type=none", "--allow-privileged=true",
		// Webhooks are reached at a Pod's address, by way of the egress proxy.
		"--enable-aggregator-routing=true", "--egress-selector-config-file="+l.dir.config("egress.yaml"),
		"--audit-policy-file="+l.dir.config("audit.yaml"), "--audit-log-path="+l.dir.audit(),
		"--profiling=false", "--v=0")
}

func (l *lab) startControllers() error {
	return l.spawn("kube-controller-manager", nil,
		"--kubeconfig="+l.dir.kubeconfigOf(controllers.name),
		"--bind-address="+l.ports.host, "--secure-port="+strconv.Itoa(l.ports.controllers),
		"--tls-cert-file="+l.dir.config("apiserver.crt"), "--tls-private-key-file="+l.dir.config("apiserver.key"),
		"--controllers=deployment-controller,replicaset-controller,endpointslice-controller,namespace-controller,"+
			"garbage-collector-controller,serviceaccount-controller,statefulset-controller,resourcequota-controller,horizontal-pod-autoscaler-controller",
		"--use-service-account-credentials=true", "--leader-elect=false",
		// A HorizontalPodAutoscaler acts within seconds instead of minutes.
		"--horizontal-pod-autoscaler-sync-period=1s", "--horizontal-pod-autoscaler-downscale-stabilization=3s",
		"--horizontal-pod-autoscaler-initial-readiness-delay=0s", "--horizontal-pod-autoscaler-cpu-initialization-period=0s",
		// The client's own limits are off: a lab must not be slower than its API server.
		"--kube-api-qps=1000", "--kube-api-burst=2000",
		"--profiling=false", "--v=0")
}

func (l *lab) startPods() error {
	return l.family.start("pods", l.dir.log("pods"), nil, l.self, "pods",
		"--kubeconfig="+l.dir.kubeconfigOf(podRunner.name), "--dir="+string(l.dir), "--range="+strconv.Itoa(int(l.octet.number)),
		"--listen="+l.ports.address(l.ports.pods), "--pod-grace="+l.options.PodGrace.String(),
		"--metrics="+net.JoinHostPort(l.octet.host(usageLast), strconv.Itoa(usagePort)),
		"--tls-cert-file="+l.dir.config("apiserver.crt"), "--tls-private-key-file="+l.dir.config("apiserver.key"))
}

func (l *lab) startIstiod() error {
	mesh, networks := l.dir.config("mesh.yaml"), l.dir.config("networks.yaml")
	discovery := fmt.Sprintf("defaultConfig: {discoveryAddress: %q}\n", l.ports.address(l.ports.istiodGRPC))
	if err := os.WriteFile(mesh, append(append([]byte{}, meshConfig...), discovery...), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(networks, []byte("networks: {}\n"), 0o600); err != nil {
		return err
	}
	return l.spawn("istiod", istiodEnvironment(l.options.IstioDebounce),
		"--kubeconfig="+l.dir.kubeconfigOf(istiodUser.name), "--mesh-config="+mesh, "--networks-config="+networks,
		"--grpc="+l.ports.address(l.ports.istiodGRPC), "--http="+l.ports.address(l.ports.istiodHTTP),
		"--monitoring="+l.ports.address(l.ports.istiodMonitoring), "--range="+strconv.Itoa(int(l.octet.number)),
		"--mesh-host="+l.octet.host(meshLast), "--mesh-proxy="+l.ports.address(l.ports.meshProxy))
}

// istiodEnvironment are the settings that Istio reads from its environment while its packages initialise. They leave
// out what needs certificates or injection, and the filters that upstream Envoy does not have.
func istiodEnvironment(debounce time.Duration) []string {
	return []string{
		"CLUSTER_ID=Kubernetes", "POD_NAMESPACE=istio-system", "POD_NAME=istiod-lab", "REVISION=default",
		"ENABLE_CA_SERVER=false", "PILOT_CERT_PROVIDER=none", "INJECT_ENABLED=false",
		"VALIDATION_WEBHOOK_CONFIG_NAME=", "INJECTION_WEBHOOK_CONFIG_NAME=",
		"ENABLE_LEADER_ELECTION=false", "PILOT_ENABLE_IP_AUTOALLOCATE=false",
		// Routes of the Gateway API are followed once somebody installs its definitions; Gateways get no Deployments.
		"PILOT_ENABLE_GATEWAY_API=true", "PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER=false", "PILOT_ENABLE_GATEWAY_API_GATEWAYCLASS_CONTROLLER=false",
		"PILOT_ENABLE_METADATA_EXCHANGE=false", "PILOT_ENABLE_ALPN_FILTER=false",
		"PILOT_DEBOUNCE_AFTER=" + debounce.String(), "PILOT_DEBOUNCE_MAX=" + max(time.Second, 10*debounce).String(),
		// A mirrored request's Host ends in -shadow, by which the Pod runner tells it from a real one.
		"DISABLE_SHADOW_HOST_SUFFIX=false",
		// A client that reaches everything through its sidecar's HTTP proxy needs endpoints for headless Services, too.
		"PILOT_ENABLE_EDS_FOR_HEADLESS_SERVICES=true",
	}
}

func (l *lab) startEnvoy(name string, b bootstrap) error {
	path := l.dir.config(name + ".yaml")
	if err := b.write(path); err != nil {
		return err
	}
	return l.family.start(name, l.dir.log(name), nil, l.envoy,
		"--config-path", path, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warn")
}
