package harness

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	istio "istio.io/client-go/pkg/clientset/versioned"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	// upLimit bounds the start of a lab. It should take 15 s, and takes several times that on a machine busy with builds.
	upLimit = 3 * time.Minute
	// downLimit is how long the components of a lab may take to end.
	downLimit = 30 * time.Second
	pollPause = 50 * time.Millisecond
)

// Endpoints are the addresses of the running lab's parts, from its lab.json.
type Endpoints struct {
	Dir          string `json:"-"`            // the lab's directory, with logs/ in it
	Kubeconfig   string `json:"kubeconfig"`   // of a cluster administrator
	APIServer    string `json:"apiserver"`    // URL
	MeshProxy    string `json:"meshProxy"`    // URL of the HTTP proxy of a mesh client's sidecar
	MeshHost     string `json:"meshHost"`     // IP on which that sidecar listens for the ports of Services
	MeshLowPorts int    `json:"meshLowPorts"` // added there to ports under 1024
	Gateway      string `json:"gateway"`      // URL of the ingress gateway
	EnvoyAdmin   string `json:"envoyAdmin"`   // URL of the sidecar's admin interface
	GatewayAdmin string `json:"gatewayAdmin"` // URL of the gateway's admin interface
	Istiod       string `json:"istiod"`       // URL of istiod's debug interface
	Pods         string `json:"pods"`         // URL of the pods' counters
	Etcd         string `json:"etcd"`         // URL of etcd
}

// lab is a running lab and the clients of it.
type lab struct {
	Endpoints
	depends sync.Once
	root    string // of the repository
	binary  string
	product string // the path of grayscale's binary
	base    string // manifests/base if grayscale is installed, else empty
	applied string // the kustomization that installed it: the base, or an overlay
	config  *rest.Config
	kube    kubernetes.Interface
	istio   istio.Interface
	process *exec.Cmd
	exited  chan struct{} // closed when the process has ended
	outcome error         // of the process, once exited is closed
	stop    sync.Once
}

// up starts `lab up` and returns once everything serves.
func up(o Options) (*lab, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	l := &lab{root: root, binary: filepath.Join(root, "bin", "lab"), product: filepath.Join(root, "bin", "grayscale"), exited: make(chan struct{})}
	if _, err := os.Stat(l.binary); err != nil {
		return nil, fmt.Errorf("%s is missing: run make lab", l.binary)
	}
	if l.Dir, err = os.MkdirTemp("", "grayscale-lab-"); err != nil {
		return nil, err
	}
	args := []string{"up", "--dir", l.Dir}
	if o.Debounce > 0 {
		args = append(args, "--istio-debounce", o.Debounce.String())
	}
	if o.Grayscale {
		if _, err := os.Stat(l.product); err != nil {
			return nil, fmt.Errorf("%s is missing: run make build", l.product)
		}
		l.base = filepath.Join(root, "manifests", "base")
		if l.applied, err = l.overlay(o); err != nil {
			return nil, err
		}
		args = append(args, "--grayscale", l.product, "--manifests", l.applied)
	}
	if err := l.start(args); err != nil {
		l.down()
		return nil, err
	}
	return l, nil
}

// overlay is a kustomization of manifests/base with the options' changes, or manifests/base itself if there are none.
func (l *lab) overlay(o Options) (string, error) {
	if o.Settle == 0 {
		return l.base, nil
	}
	dir := filepath.Join(l.Dir, "manifests")
	base, err := filepath.Rel(dir, l.base) // Kustomize takes no absolute path
	if err != nil {
		return "", err
	}
	text := fmt.Sprintf(`resources: [%q]
patches:
- target: {kind: Deployment, name: grayscale}
  patch: '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--settle=%s"}]'
`, base, o.Settle)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", err
	}
	return dir, os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600)
}

// Manifests is the kustomization that has installed grayscale in this lab.
func Manifests() string { return current().applied }

// Binary is the path of one of the repository's binaries, bin/<name>, for tests that start it themselves.
func Binary(name string) string {
	root, err := repository()
	if err != nil {
		panic(err) // the tests run outside the repository
	}
	return filepath.Join(root, "bin", name)
}

// start runs the lab in the foreground of a goroutine. The kernel ends the lab with this process, no matter how the
// process dies.
func (l *lab) start(args []string) error {
	output, err := os.Create(filepath.Join(l.Dir, "up.log"))
	if err != nil {
		return err
	}
	l.process = exec.Command(l.binary, args...)
	l.process.Stdout, l.process.Stderr = output, output
	l.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig is sent when the thread that started the child ends, not the process
		defer runtime.UnlockOSThread()
		err := l.process.Start()
		started <- err
		if err == nil {
			l.outcome = l.process.Wait()
			close(l.exited)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("%s: %w", l.binary, err)
	}
	if err := l.ready(output.Name()); err != nil {
		said, _ := os.ReadFile(output.Name()) // the output only helps to explain the error
		return fmt.Errorf("lab up: %w\n%s", err, said)
	}
	return l.connect()
}

// ready waits for the lab's line that everything serves, and reads lab.json.
func (l *lab) ready(output string) error {
	limit := time.After(upLimit)
	for {
		said, err := os.ReadFile(output)
		if err != nil {
			return err
		}
		if saysReady(string(said)) {
			break
		}
		select {
		case <-l.exited:
			return fmt.Errorf("it ended before it was ready: %w", l.outcome)
		case <-limit:
			return fmt.Errorf("not ready after %s", upLimit)
		case <-time.After(pollPause):
		}
	}
	content, err := os.ReadFile(filepath.Join(l.Dir, "lab.json"))
	if err != nil {
		return err
	}
	return json.Unmarshal(content, &l.Endpoints)
}

// saysReady finds the last line that `lab up` prints: "lab  ready after 4.8 s ...".
func saysReady(said string) bool {
	for line := range strings.Lines(said) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "lab" && words[1] == "ready" {
			return true
		}
	}
	return false
}

func (l *lab) connect() error {
	var err error
	if l.config, err = clientcmd.BuildConfigFromFlags("", l.Kubeconfig); err != nil {
		return err
	}
	// The tests of a package share one client: client-go's own limit of 5 requests per second would queue them up.
	l.config.QPS, l.config.Burst = 200, 400
	if l.kube, err = kubernetes.NewForConfig(l.config); err != nil {
		return err
	}
	l.istio, err = istio.NewForConfig(l.config)
	return err
}

// down kills the lab and removes its directory. It may be called twice. Nobody needs the lab any more, so pods get no
// time for a graceful shutdown.
func (l *lab) down() {
	l.stop.Do(func() {
		if l.process != nil && l.process.Process != nil {
			_ = l.process.Process.Kill() // its components end with it; an error means that it has ended already
			<-l.exited
		}
		// A component may write one more file before it ends. Files that remain are in the temporary directory.
		for limit := time.Now().Add(downLimit); os.RemoveAll(l.Dir) != nil && time.Now().Before(limit); {
			time.Sleep(pollPause)
		}
	})
}

// depend makes Go run these tests again if files change that only other processes read. Files that a test reads or
// stats after m.Run has begun are part of the key of its cached result (cmd/go/internal/test, computeTestInputsID).
func (l *lab) depend() {
	for _, name := range []string{"Makefile", "bin", "docs", "examples", "hack", "manifests"} { // the Makefile names Envoy's version
		if err := filepath.WalkDir(filepath.Join(l.root, name), func(path string, _ fs.DirEntry, err error) error {
			if err == nil {
				_, err = os.Stat(path)
			}
			return err
		}); err != nil {
			panic(fmt.Sprintf("what the tests depend on: %v", err))
		}
	}
}

// repository is the root of the main module, above the folder of the package under test.
func repository() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(content), "module grayscale.dev/grayscale\n") {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("the tests do not run inside the repository: no go.mod of grayscale.dev/grayscale above them")
		}
		dir = parent
	}
}
