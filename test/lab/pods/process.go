package pods

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/third_party/forked/golang/expansion"
)

// processSettings is what one real process is made of.
type processSettings struct {
	container  *corev1.Container
	binary     string
	args       []string
	env        map[string]string
	workDir    string // private to the Pod: HOME, TMPDIR and the working directory
	logFile    string // appended to
	address    netip.Addr
	spawner    spawner
	wake       func()
	terminated time.Duration // how long a failing liveness probe lets the process end by itself
}

// process is a container that runs a binary of this machine.
type process struct {
	processSettings
	cmd     *exec.Cmd
	cancel  context.CancelFunc // ends the probes
	serving atomic.Bool

	ended chan struct{}
	code  int32 // valid once ended is closed
}

// processArgs gives the arguments of the container's process: those of its command past the binary itself, those of
// args, both with $(VAR) expanded from env, and the two flags that stand for being in a cluster.
func processArgs(c *corev1.Container, env map[string]string, kubeconfig string, address netip.Addr) []string {
	var args []string
	if len(c.Command) > 1 {
		args = append(args, c.Command[1:]...)
	}
	args = append(args, c.Args...)
	mapping := expansion.MappingFuncFor(env)
	for i := range args {
		args[i] = expansion.Expand(args[i], mapping)
	}
	return append(args, "--kubeconfig="+kubeconfig, "--bind-address="+address.String())
}

// readBinaryPath gives the path of the binary that `lab grayscale` chose.
func readBinaryPath(labDir string) (string, error) {
	file := filepath.Join(labDir, "grayscale.path")
	content, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("no binary for image %q: %w: choose one with `lab grayscale --dir %s --bin PATH`", processImage, err, labDir)
	}
	path := strings.TrimSpace(string(content))
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("binary named in %s: %w: choose one with `lab grayscale --dir %s --bin PATH`", file, err, labDir)
	}
	return path, nil
}

func startProcess(settings processSettings) (*process, error) {
	log, err := os.OpenFile(settings.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("container %q: log: %w", settings.container.Name, err)
	}
	defer func() { _ = log.Close() }() // the child has its own descriptor of it
	cmd := exec.Command(settings.binary, settings.args...)
	cmd.Dir, cmd.Env = settings.workDir, processEnv(settings.env, settings.workDir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := settings.spawner.start(cmd); err != nil {
		return nil, fmt.Errorf("container %q: %w", settings.container.Name, err)
	}
	// Whoever tries faults on this process finds it by this file.
	pid := []byte(strconv.Itoa(cmd.Process.Pid) + "\n")
	if err := os.WriteFile(filepath.Join(settings.workDir, "pid"), pid, 0o600); err != nil {
		slog.Error("process", "container", settings.container.Name, "error", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{processSettings: settings, cmd: cmd, cancel: cancel, ended: make(chan struct{})}
	p.probe(ctx)
	go p.wait()
	return p, nil
}

// processEnv is the container's environment plus what an image would bring: a path, a home. GOCOVERDIR goes through, so
// that a binary built with -cover can report what a lab exercised.
func processEnv(env map[string]string, workDir string) []string {
	all := map[string]string{"PATH": os.Getenv("PATH"), "HOME": workDir, "TMPDIR": workDir}
	if dir, set := os.LookupEnv("GOCOVERDIR"); set {
		all["GOCOVERDIR"] = dir
	}
	maps.Copy(all, env)
	lines := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		lines = append(lines, name+"="+all[name])
	}
	return lines
}

// probe starts the container's probes; without a readiness probe it is ready from the start.
func (p *process) probe(ctx context.Context) {
	host := p.address.String()
	if readiness, ok := newProber(p.container.ReadinessProbe, p.container, host); ok {
		go readiness.run(ctx, readinessFirstPeriod, func(ok bool) {
			if p.serving.Swap(ok) != ok {
				p.wake()
			}
		})
	} else {
		p.serving.Store(true)
	}
	if liveness, ok := newProber(p.container.LivenessProbe, p.container, host); ok {
		go liveness.run(ctx, 0, func(ok bool) {
			if !ok {
				p.stop(p.terminated)
			}
		})
	}
}

func (p *process) wait() {
	_ = p.cmd.Wait() // its error repeats what the process state says
	p.cancel()
	p.code = exitCode(p.cmd.ProcessState)
	close(p.ended)
	p.wake()
}

// exitCode is the process's own, or 128 plus the signal that ended it, as a container runtime reports it.
func exitCode(state *os.ProcessState) int32 {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int32(status.Signal())
	}
	return int32(state.ExitCode())
}

func (p *process) ready(time.Time) (bool, time.Duration) {
	return p.serving.Load(), 0
}

// stop asks the process to end, and kills it after within.
func (p *process) stop(within time.Duration) {
	p.signal(syscall.SIGTERM)
	time.AfterFunc(within, p.kill)
}

func (p *process) kill() { p.signal(syscall.SIGKILL) }

// signal reaches the whole process group; none is sent after the end, for the number may be somebody else's by then.
func (p *process) signal(s syscall.Signal) {
	if _, over := p.exited(); over {
		return
	}
	_ = syscall.Kill(-p.cmd.Process.Pid, s) // no such process: it has just ended, which is the aim
}

func (p *process) exited() (int32, bool) {
	select {
	case <-p.ended:
		return p.code, true
	default:
		return 0, false
	}
}
