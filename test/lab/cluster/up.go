package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"grayscale.dev/grayscale/test/lab/cluster/translate"
)

// Options are what a user may choose about a lab.
type Options struct {
	Dir string
	// BasePort is the first of the ports of the components on 127.0.0.1, all under 32768; 0 takes free ones on an address
	// of the lab's own.
	BasePort int
	// IstioDebounce is how long istiod waits for further changes before it pushes (Istio's own default is 100 ms).
	IstioDebounce time.Duration
	// PodGrace is how long a deleted echo Pod goes on serving.
	PodGrace time.Duration
	// Grayscale is the product's binary to install at once, Manifests the kustomization that installs it.
	Grayscale, Manifests string
}

// endGrace is how long the Pod runner may take to end the processes that are Pods.
const endGrace = 5 * time.Second

// up runs one lab until ctx is done or a component ends; it leaves no process behind.
func up(ctx context.Context, o Options, p *progress) (err error) {
	l, err := newLab(o, p)
	if err != nil {
		return err
	}
	lock, err := l.dir.acquire()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }() // last of all: `lab down` waits for it
	if err := l.dir.clean(); err != nil {
		return err
	}
	if l.octet, err = claimOctet(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.octet.release()) }()
	if l.ports, err = choosePorts(o.BasePort, l.octet.host(ownLast)); err != nil {
		return err
	}
	egress, err := startEgress(l.egressSocket(), l.octet.number)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, egress.Close()) }()
	defer func() {
		l.family.end(endGrace, "pods")
		// Without these nobody takes the lab for a running one, and a hundred megabytes of etcd's do not stay.
		err = errors.Join(err, os.RemoveAll(l.dir.state()), os.RemoveAll(l.dir.etcd()))
	}()
	return l.run(ctx)
}

func newLab(o Options, p *progress) (*lab, error) {
	if runtime.GOOS != "linux" {
		return nil, fmt.Errorf("the lab needs Linux (all of 127.0.0.0/8 local, Envoy's Linux binary); this is %s", runtime.GOOS)
	}
	d, err := openDirectory(o.Dir)
	if err != nil {
		return nil, err
	}
	envoy, err := envoyBinary()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the lab's own binary: %w", err)
	}
	if o.Grayscale != "" {
		if err := checkBinary(o.Grayscale); err != nil {
			return nil, err
		}
		if o.Manifests, err = findManifests(o.Manifests); err != nil {
			return nil, err
		}
	}
	return &lab{options: o, dir: d, family: newFamily(), progress: p, self: self, envoy: envoy}, nil
}

// run starts everything, then waits for the end.
func (l *lab) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go l.mind(ctx, cancel)
	if err := l.start(ctx); err != nil {
		switch cause := context.Cause(ctx); {
		case cause == nil:
			return err
		case errors.Is(cause, context.Canceled):
			return errors.New("interrupted before the lab was ready")
		default:
			return cause // a dead component says more than what failed for want of it
		}
	}
	l.progress.ready("lab", fmt.Sprintf("export KUBECONFIG=%s", l.dir.kubeconfig()))
	l.progress.endReport()
	<-ctx.Done()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}

// start brings up what depends on each other in order, the rest at once.
func (l *lab) start(ctx context.Context) error {
	if err := writeCredentials(l.dir, l.ports); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", l.dir.kubeconfig())
	if err != nil {
		return err
	}
	config.QPS = -1 // no limit of the client's own
	config.WarningHandler = rest.NoWarnings{}
	if err := l.startKubernetes(ctx, config); err != nil {
		return err
	}
	all, allCtx := errgroup.WithContext(ctx)
	all.Go(func() error { return l.workloads(allCtx, config) })
	all.Go(func() error { return l.mesh(allCtx, config) })
	if err := all.Wait(); err != nil {
		return err
	}
	if err := l.state().write(l.dir.state()); err != nil {
		return err
	}
	if l.options.Grayscale == "" {
		return nil
	}
	return l.installGrayscale(ctx, config)
}

func (l *lab) startKubernetes(ctx context.Context, config *rest.Config) error {
	if err := l.startEtcd(); err != nil {
		return err
	}
	etcd := l.ports.url("http", l.ports.etcdClient)
	if err := l.await(ctx, "etcd", etcd+"/health", etcd); err != nil {
		return err
	}
	if err := l.startAPIServer(); err != nil {
		return err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	if err := waitFor(ctx, client, config.Host+"/readyz"); err != nil {
		return fmt.Errorf("kube-apiserver is not ready: %w: see %s", err, l.dir.log("kube-apiserver"))
	}
	l.progress.ready("kube-apiserver", config.Host)
	applier, err := newApplier(config)
	if err != nil {
		return err
	}
	return applier.applyAccess(ctx)
}

// workloads starts what runs Deployments.
func (l *lab) workloads(ctx context.Context, config *rest.Config) error {
	if err := l.startControllers(); err != nil {
		return err
	}
	if err := l.startPods(); err != nil {
		return err
	}
	pods := l.ports.url("http", l.ports.pods)
	if err := l.await(ctx, "pods", pods+"/healthz", pods); err != nil {
		return err
	}
	applier, err := newApplier(config)
	if err != nil {
		return err
	}
	if err := applier.applyTemplate(ctx, metricsObjects, fmt.Sprintf("10.%d.0.%d", l.octet.number, usageLast), usagePort); err != nil {
		return err
	}
	if err := waitForDefaultAccount(ctx, config); err != nil {
		return fmt.Errorf("kube-controller-manager is not ready: %w: see %s", err, l.dir.log("kube-controller-manager"))
	}
	l.progress.ready("kube-controller-manager", "")
	return nil
}

func (l *lab) await(ctx context.Context, component, probe, detail string) error {
	if err := waitFor(ctx, plainClient(), probe); err != nil {
		return fmt.Errorf("%s is not ready: %w: see %s", component, err, l.dir.log(component))
	}
	l.progress.ready(component, detail)
	return nil
}

func (l *lab) state() State {
	return State{
		Kubeconfig:    l.dir.kubeconfig(),
		MeshProxy:     l.ports.url("http", l.ports.meshProxy),
		MeshHost:      l.octet.host(meshLast),
		MeshLowPorts:  translate.LowPorts,
		Gateway:       l.ports.url("http", l.ports.gateway),
		EnvoyAdmin:    l.ports.url("http", l.ports.meshAdmin),
		GatewayAdmin:  l.ports.url("http", l.ports.gatewayAdmin),
		Istiod:        l.ports.url("http", l.ports.istiodMonitoring),
		APIServer:     l.ports.url("https", l.ports.apiServer),
		Etcd:          l.ports.url("http", l.ports.etcdClient),
		Pods:          l.ports.url("http", l.ports.pods),
		PodRange:      fmt.Sprintf("10.%d", l.octet.number),
		LoopbackRange: fmt.Sprintf("127.%d", l.octet.number),
		PIDs:          l.family.pids(),
	}
}
