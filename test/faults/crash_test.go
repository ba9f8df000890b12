package faults

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/utils/ptr"

	"grayscale.dev/grayscale/test/harness"
)

// The controller is killed right after each of its writes, before it gets the answer, and restarted: through adoption,
// a canary at 10, 50 and 100 %, promotion and the end of the release. It loses its memory each time; everything that it
// needs is in the cluster.
func TestCrashAtEveryWrite(t *testing.T) {
	s := begin(t)
	takeLease(t)
	mortal := startMortal(t, s.NS)
	stable := harness.PodUIDs(t, s.NS, "release=web-v1")
	s.apply("web-v2", 10)
	for _, weight := range []int{10, 50, 100} {
		if weight != 10 {
			s.weigh(weight)
		}
		s.programmed("web-v2", weight)
		s.Served(map[string]float64{"v1": float64(100 - weight), "v2": float64(weight)})
	}
	s.unmoved(stable)

	before := len(s.history.Writes(nil))
	s.Annotate("web-v2", "strategy-", "weight-")
	s.written("virtualservices", before, func(w harness.Write) bool { return w.Weights["v2"] == 100 }) // v2 is stable
	s.must(harness.Kube().AppsV1().Deployments(s.NS).Delete(ctx, "web-v1", metav1.DeleteOptions{}))
	fault := time.Now()
	s.NoRoutes()
	s.Served(map[string]float64{"v2": 100})
	s.end(fault)
	if crashes := mortal.stop(); crashes < 10 {
		t.Errorf("only %d crashes: the test met nothing", crashes)
	} else {
		t.Logf("%d writes, each followed by a crash", crashes)
	}
}

// takeLease keeps the installed replicas from leading until the test ends. Their webhook keeps running.
func takeLease(t *testing.T) {
	t.Helper()
	hold := func(holder string, seconds int32) {
		harness.Eventually(t, "the lease is "+holder, func() error {
			leases := harness.Kube().CoordinationV1().Leases("grayscale-system")
			lease, err := leases.Get(ctx, "grayscale", metav1.GetOptions{})
			if err != nil {
				return err
			}
			lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = &holder, &seconds
			lease.Spec.RenewTime = ptr.To(metav1.NowMicro())
			_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
			return err
		})
	}
	leader, before := harness.Leader(t), restarts(t)
	hold("test", 3600)
	t.Cleanup(func() {
		hold("", 1)
		harness.Leader(t)
	})
	// It would consider itself the leader until it has tried for 10 s to renew the lease.
	if err := syscall.Kill(leader.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the leader has restarted", func() error {
		if restarts(t) == before {
			return fmt.Errorf("pod %s was not restarted", leader.Pod)
		}
		return nil
	})
}

// mortal is a controller of grayscale that dies at each of its writes to one namespace. It reaches the API server
// through a proxy, which kills it when the API server has done the write.
type mortal struct {
	t          *testing.T
	namespace  string
	kubeconfig string
	log        string

	mu      sync.Mutex
	process *exec.Cmd
	crashes int
	over    bool
}

func startMortal(t *testing.T, namespace string) *mortal {
	t.Helper()
	m := &mortal{t: t, namespace: namespace, log: filepath.Join(t.TempDir(), "grayscale.log")}
	config := harness.Config()
	target, err := url.Parse(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	// It uses its own token and rights: the API server would call the webhook for the administrator's writes.
	config.BearerToken, config.BearerTokenFile = "", ""
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(config))
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewTLSServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     transport,
		FlushInterval: -1, // of watches
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode < 300 && m.isWrite(r.Request) {
				m.crash()
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) {}, // its client has died
	})
	t.Cleanup(proxy.Close)
	m.kubeconfig = kubeconfig(t, proxy)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.start()
	t.Cleanup(func() {
		m.stop()
		if t.Failed() {
			said, _ := os.ReadFile(m.log) // only helps to explain a failure
			t.Logf("the mortal controller said\n%s", bytes.TrimSpace(said))
		}
	})
	return m
}

// kubeconfig points to the proxy, with grayscale's own account.
func kubeconfig(t *testing.T, proxy *httptest.Server) string {
	t.Helper()
	token, err := harness.Kube().CoreV1().ServiceAccounts("grayscale-system").CreateToken(ctx, "grayscale",
		&authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})
	config := clientcmdapi.NewConfig()
	config.Clusters["lab"] = &clientcmdapi.Cluster{Server: proxy.URL, CertificateAuthorityData: ca}
	config.AuthInfos["grayscale"] = &clientcmdapi.AuthInfo{Token: token.Status.Token}
	config.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: "grayscale"}
	config.CurrentContext = "lab"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// isWrite leaves out Events: they only report writes, and no decision depends on them.
func (m *mortal) isWrite(r *http.Request) bool {
	return r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/namespaces/"+m.namespace+"/") && !strings.Contains(r.URL.Path, "/events")
}

// crash kills the controller and starts the next one, before anybody gets the answer to the write.
func (m *mortal) crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.over {
		return
	}
	m.kill()
	m.crashes++
	m.start()
}

// start runs the next controller; m.mu is held.
func (m *mortal) start() {
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.t.Error(err)
		return
	}
	defer func() { _ = log.Close() }() // the process has its own
	// The lab's own address 127.X.0.2 is the mesh's; nobody has 127.X.0.9.
	host := strings.TrimSuffix(harness.Lab().MeshHost, "2") + "9"
	m.process = exec.Command(harness.Product(), "--kubeconfig="+m.kubeconfig, "--bind-address="+host, "--metrics-port=0")
	m.process.Stdout, m.process.Stderr = log, log
	m.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.process.Start(); err != nil {
		m.t.Errorf("controller: %v", err)
	}
}

// kill ends the running controller; m.mu is held.
func (m *mortal) kill() {
	_ = m.process.Process.Kill() // it may have ended by itself, which its log tells
	_ = m.process.Wait()         // the signal is its error
}

// stop ends the last controller and returns the number of crashes; it may be called twice.
func (m *mortal) stop() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.over {
		m.kill()
	}
	m.over = true
	return m.crashes
}
