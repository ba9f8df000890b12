package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
)

// State is DIR/lab.json: how to reach a lab that is ready. Tests, the demo and the load read it.
type State struct {
	// Kubeconfig is the file of the administrator.
	Kubeconfig string `json:"kubeconfig"`
	// MeshProxy is the URL of the HTTP proxy of the mesh client's sidecar Envoy: requests through it follow mesh routes.
	MeshProxy string `json:"meshProxy"`
	// MeshHost is the loopback address on which that sidecar listens on the port of every Service, as for captured
	// traffic.
	MeshHost string `json:"meshHost"`
	// MeshLowPorts is what is added there to ports under 1024, which not everybody may bind.
	MeshLowPorts int `json:"meshLowPorts"`
	// Gateway is the URL of the ingress-gateway Envoy, bound to Gateway istio-system/lab-gateway.
	Gateway string `json:"gateway"`
	// EnvoyAdmin and GatewayAdmin are the URLs of the admin interfaces of the two Envoys.
	EnvoyAdmin   string `json:"envoyAdmin"`
	GatewayAdmin string `json:"gatewayAdmin"`
	// Istiod is the URL of istiod's monitoring port (/metrics, /debug/syncz).
	Istiod string `json:"istiod"`
	// APIServer is the URL of the API server.
	APIServer string `json:"apiserver"`
	// Etcd is the URL of etcd, which keeps every write's order; it goes on while the API server does not.
	Etcd string `json:"etcd"`
	// Pods is the URL of the Pod runner's counters (GET /counts, POST /reset).
	Pods string `json:"pods"`
	// PodRange and LoopbackRange are the first two octets of Pod addresses in the API and of where Pods listen.
	PodRange      string `json:"podRange"`
	LoopbackRange string `json:"loopbackRange"`
	// PIDs are the processes of the lab by component; "lab" is the supervisor.
	PIDs map[string]int `json:"pids"`
}

// MeshAddress is where the mesh client's sidecar takes what its application sends to a port of a Service.
func (s State) MeshAddress(port int) string {
	if port < 1024 {
		port += s.MeshLowPorts
	}
	return net.JoinHostPort(s.MeshHost, strconv.Itoa(port))
}

// ReadState reads DIR/lab.json of a lab that is ready.
func ReadState(dir string) (State, error) {
	d, err := openDirectory(dir)
	if err != nil {
		return State{}, err
	}
	_, running, err := d.owner()
	if err != nil {
		return State{}, err
	}
	raw, err := os.ReadFile(d.state())
	if !running || errors.Is(err, os.ErrNotExist) { // a lab that was killed leaves its lab.json
		return State{}, fmt.Errorf("no lab is up in %s: start one with `lab up --dir %s`", d, d)
	}
	if err != nil {
		return State{}, err
	}
	var s State
	if err := json.Unmarshal(raw, &s); err != nil {
		return State{}, fmt.Errorf("%s: %w", d.state(), err)
	}
	return s, nil
}

// write puts the file in place in one step, so that nobody reads half of it.
func (s State) write(path string) error {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
