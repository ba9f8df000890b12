package component

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"istio.io/istio/pilot/pkg/bootstrap"
	v3 "istio.io/istio/pilot/pkg/xds/v3"
	"istio.io/istio/pkg/cluster"
	istiocmd "istio.io/istio/pkg/cmd"
	"istio.io/istio/pkg/config/constants"
	"istio.io/istio/pkg/ctrlz"
	"istio.io/istio/pkg/keepalive"

	"grayscale.dev/grayscale/test/lab/cluster/translate"
)

// istiodOptions are the flags of `lab istiod`; the settings that Istio takes from the environment are the caller's.
type istiodOptions struct {
	kubeconfig, mesh, networks string
	grpc, http, monitoring     string
	octet                      int
	meshHost, meshProxy        string
}

// Istiod is the hidden `lab istiod`: Istio's control plane, with Pod addresses and the mesh client's listeners moved to
// loopback addresses on their way out to Envoy.
func Istiod() *cobra.Command {
	var o istiodOptions
	cmd := &cobra.Command{
		Use: "istiod", Short: "Run Istio's control plane", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return o.run() },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the API server")
	flags.StringVar(&o.mesh, "mesh-config", "", "file with Istio's MeshConfig")
	flags.StringVar(&o.networks, "networks-config", "", "file with Istio's MeshNetworks")
	flags.StringVar(&o.grpc, "grpc", "", "address of the XDS server, plaintext")
	flags.StringVar(&o.http, "http", "", "address of the readiness and debug server")
	flags.StringVar(&o.monitoring, "monitoring", "", "address of the metrics server")
	flags.IntVar(&o.octet, "range", 0, "X: endpoints 10.X.a.b are sent as 127.X.a.b")
	flags.StringVar(&o.meshHost, "mesh-host", "", "loopback address to which the mesh client's Service listeners move")
	flags.StringVar(&o.meshProxy, "mesh-proxy", "", "address to which the mesh client's HTTP proxy listener moves")
	return cmd
}

func (o istiodOptions) run() error {
	addresses, err := o.addresses()
	if err != nil {
		return err
	}
	args := bootstrap.NewPilotArgs(o.apply)
	if err := args.Complete(); err != nil {
		return fmt.Errorf("istiod's settings: %w", err)
	}
	server, err := bootstrap.NewServer(args)
	if err != nil {
		return fmt.Errorf("make istiod: %w", err)
	}
	generators := server.XDSServer.Generators
	generators[v3.EndpointType] = translate.Endpoints(generators[v3.EndpointType], addresses)
	generators[v3.ListenerType] = translate.Listeners(generators[v3.ListenerType], addresses)
	generators[v3.RouteType] = translate.Routes(generators[v3.RouteType])
	stop := make(chan struct{})
	if err := server.Start(stop); err != nil {
		return fmt.Errorf("start istiod: %w", err)
	}
	istiocmd.WaitSignal(stop)
	server.WaitUntilCompletion()
	return nil
}

func (o istiodOptions) apply(args *bootstrap.PilotArgs) {
	args.Namespace = constants.IstioSystemNamespace
	args.MeshConfigFile, args.NetworksConfigFile = o.mesh, o.networks
	args.ShutdownDuration = time.Second
	args.RegistryOptions.Registries = []string{"Kubernetes"}
	args.RegistryOptions.KubeConfig = o.kubeconfig
	args.RegistryOptions.ClusterRegistriesNamespace = constants.IstioSystemNamespace
	args.RegistryOptions.KubeOptions.ClusterID = cluster.ID("Kubernetes")
	args.RegistryOptions.KubeOptions.DomainSuffix = constants.DefaultClusterLocalDomain
	// The client's own limits are off: a lab must not be slower than its API server.
	args.RegistryOptions.KubeOptions.KubernetesAPIQPS = 1000
	args.RegistryOptions.KubeOptions.KubernetesAPIBurst = 2000
	args.ServerOptions.GRPCAddr, args.ServerOptions.HTTPAddr, args.ServerOptions.MonitoringAddr = o.grpc, o.http, o.monitoring
	args.ServerOptions.SecureGRPCAddr, args.ServerOptions.HTTPSAddr = "", ""
	args.ServerOptions.EnableProfiling = true
	args.ServerOptions.TLSOptions.TLSMinVersion = bootstrap.TLSMinVersion1_2
	args.CtrlZOptions = ctrlz.DefaultOptions()
	args.CtrlZOptions.Port = 0
	args.KeepaliveOptions = keepalive.DefaultOption()
}

func (o istiodOptions) addresses() (translate.Addresses, error) {
	if o.octet < 1 || o.octet > 255 {
		return translate.Addresses{}, fmt.Errorf("--range %d is not allowed: choose 1 to 255", o.octet)
	}
	host, err := netip.ParseAddr(o.meshHost)
	if err != nil {
		return translate.Addresses{}, fmt.Errorf("--mesh-host: %w", err)
	}
	proxyHost, proxyPort, err := net.SplitHostPort(o.meshProxy)
	if err != nil {
		return translate.Addresses{}, fmt.Errorf("--mesh-proxy: %w", err)
	}
	port, err := strconv.ParseUint(proxyPort, 10, 16)
	if err != nil {
		return translate.Addresses{}, fmt.Errorf("--mesh-proxy: %w", err)
	}
	return translate.Addresses{Octet: byte(o.octet), MeshHost: host.String(), ProxyHost: proxyHost, ProxyPort: uint32(port)}, nil
}
