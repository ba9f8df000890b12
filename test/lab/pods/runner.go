package pods

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	statuspatch "k8s.io/kubernetes/pkg/util/pod"
)

const (
	nodeName       = "lab"
	workers        = 4
	requestTimeout = 10 * time.Second
)

// runner is the lab's kubelet and scheduler.
type runner struct {
	client      kubernetes.Interface
	dir         string
	podGrace    time.Duration // how long a deleted echo Pod serves on
	addresses   *addresses
	counters    *counters
	credentials credentials
	spawner     spawner

	factory  informers.SharedInformerFactory
	pods     corelisters.PodLister
	services corelisters.ServiceLister
	queue    workqueue.TypedRateLimitingInterface[cache.ObjectName]

	mu        sync.Mutex
	sandboxes map[cache.ObjectName]*sandbox
}

func newRunner(client kubernetes.Interface, cluster *rest.Config, dir string, octet byte, podGrace time.Duration) *runner {
	factory := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(dropManagedFields))
	return &runner{
		client: client, dir: dir, podGrace: podGrace,
		addresses:   newAddresses(octet),
		counters:    newCounters(),
		credentials: credentials{client: client, cluster: cluster},
		spawner:     newSpawner(),
		factory:     factory,
		pods:        factory.Core().V1().Pods().Lister(),
		services:    factory.Core().V1().Services().Lister(),
		queue: workqueue.NewTypedRateLimitingQueue(
			workqueue.NewTypedItemExponentialFailureRateLimiter[cache.ObjectName](50*time.Millisecond, 5*time.Second)),
		sandboxes: map[cache.ObjectName]*sandbox{},
	}
}

// dropManagedFields keeps half of each object out of the cache: nothing here reads who wrote which field.
func dropManagedFields(obj any) (any, error) {
	if accessor, err := meta.Accessor(obj); err == nil { // a tombstone has no metadata of its own
		accessor.SetManagedFields(nil)
	}
	return obj, nil
}

// run works until ctx is done; started is called once every Pod that existed is known.
func (r *runner) run(ctx context.Context, started func()) error {
	if err := r.registerNode(ctx); err != nil {
		return err
	}
	enqueue := func(obj any) {
		if name, err := cache.DeletionHandlingObjectToName(obj); err == nil {
			r.queue.Add(name)
		}
	}
	_, err := r.factory.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    enqueue,
		UpdateFunc: func(_, obj any) { enqueue(obj) },
		DeleteFunc: enqueue,
	})
	if err != nil {
		return fmt.Errorf("watch Pods: %w", err)
	}
	r.factory.Start(ctx.Done())
	for kind, synced := range r.factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return fmt.Errorf("read all of %s: %w", kind, context.Cause(ctx))
		}
	}
	if err := r.reserve(); err != nil {
		return err
	}
	var working sync.WaitGroup
	for range workers {
		working.Go(r.work)
	}
	started()
	<-ctx.Done()
	r.queue.ShutDown()
	working.Wait()
	r.factory.Shutdown()
	r.shutdown()
	return nil
}

// reserve keeps the addresses that Pods of an earlier run report, before new Pods can take them.
func (r *runner) reserve() error {
	pods, err := r.pods.List(labels.Everything())
	if err != nil {
		return fmt.Errorf("list Pods: %w", err)
	}
	for _, pod := range pods {
		if pod.Spec.NodeName == nodeName {
			r.addresses.claim(pod.Status.PodIP, pod.UID)
		}
	}
	return nil
}

func (r *runner) registerNode(ctx context.Context) error {
	now := metav1.Now()
	_, err := r.client.CoreV1().Nodes().Create(ctx, &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{corev1.LabelHostname: nodeName, corev1.LabelOSStable: "linux"}},
		Status: corev1.NodeStatus{
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: r.addresses.nodeIP()}},
			Conditions: []corev1.NodeCondition{{
				Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "LabReady", LastHeartbeatTime: now, LastTransitionTime: now,
			}},
		},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("register Node %q: %w", nodeName, err)
	}
	return nil
}

func (r *runner) work() {
	for {
		name, quit := r.queue.Get()
		if quit {
			return
		}
		r.handle(name)
	}
}

func (r *runner) handle(name cache.ObjectName) {
	defer r.queue.Done(name)
	ctx, cancel := context.WithTimeout(context.Background(), requestTimeout)
	defer cancel()
	again, err := r.sync(ctx, name)
	if err != nil {
		if !apierrors.IsConflict(err) {
			slog.Error("pod", "name", name, "error", err)
		}
		r.queue.AddRateLimited(name)
		return
	}
	r.queue.Forget(name)
	if again > 0 {
		r.queue.AddAfter(name, again)
	}
}

// sync brings one Pod to what its object asks now; again is when to look without an event, 0 for never.
func (r *runner) sync(ctx context.Context, name cache.ObjectName) (again time.Duration, err error) {
	pod, err := r.pods.Pods(name.Namespace).Get(name.Name)
	s := r.sandbox(name)
	if apierrors.IsNotFound(err) {
		return 0, r.discard(name, s)
	}
	if err != nil {
		return 0, err
	}
	if s != nil && s.uid != pod.UID { // deleted and made again between two looks
		if err := r.discard(name, s); err != nil {
			return 0, err
		}
		s = nil
	}
	switch {
	case pod.Spec.NodeName == "" && pod.DeletionTimestamp == nil:
		return 0, r.bind(ctx, pod)
	case pod.Spec.NodeName != nodeName:
		return 0, nil
	case pod.DeletionTimestamp != nil:
		return r.terminate(ctx, pod, s)
	}
	if s == nil {
		if s, err = r.open(pod); err != nil {
			return 0, err
		}
		r.remember(name, s)
	}
	return r.keep(ctx, pod, s)
}

// bind does the scheduler's part.
func (r *runner) bind(ctx context.Context, pod *corev1.Pod) error {
	err := r.client.CoreV1().Pods(pod.Namespace).Bind(ctx, &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
		Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName},
	}, metav1.CreateOptions{})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) { // gone, or bound already: the next event tells
		return nil
	}
	return err
}

// keep runs a Pod that is wanted, and reports it.
func (r *runner) keep(ctx context.Context, pod *corev1.Pod, s *sandbox) (time.Duration, error) {
	s.follow(pod, r.counters)
	now := time.Now()
	again := s.step(now)
	if s.isProcess() && !s.renewToken.IsZero() {
		if !now.Before(s.renewToken) {
			if err := r.renewToken(s); err != nil {
				return 0, err
			}
		}
		again = sooner(again, s.renewToken.Sub(now))
		mounted, err := r.mount(ctx, s)
		if err != nil { // a kubelet keeps the files, too, when their Secret is gone
			slog.Error("pod", "namespace", pod.Namespace, "name", pod.Name, "error", err)
		}
		if mounted || err != nil {
			again = sooner(again, volumesPeriod)
		}
	}
	status := s.status(r.addresses.nodeIP(), now)
	_, _, _, err := statuspatch.PatchPodStatus(ctx, r.client, pod.Namespace, pod.Name, pod.UID, pod.Status, status)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	return again, err
}

// terminate ends a Pod that is being deleted, as a kubelet does: it serves on, stops gracefully, then the object goes.
func (r *runner) terminate(ctx context.Context, pod *corev1.Pod, s *sandbox) (time.Duration, error) {
	if s != nil {
		s.follow(pod, r.counters)
		deadline := pod.DeletionTimestamp.Time // the API server adds the grace period to it
		if s.closing.IsZero() {
			s.closing = r.closingTime(pod, s, time.Now())
		}
		if over, again := s.end(time.Now(), deadline); !over {
			return again, nil
		}
	}
	grace := int64(0)
	err := r.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: &grace, Preconditions: &metav1.Preconditions{UID: &pod.UID},
	})
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	return 0, err
}

// closingTime is when a Pod that is deleted now stops serving. Echo Pods serve on for --pod-grace, as an app with a
// preStop sleep does; a process is told at once, unless it has such a sleep itself. The Pod's own grace period bounds
// both.
func (r *runner) closingTime(pod *corev1.Pod, s *sandbox, now time.Time) time.Time {
	serve := r.podGrace
	if s.isProcess() {
		serve = preStopSleep(pod)
	}
	if grace := pod.DeletionGracePeriodSeconds; grace != nil {
		serve = min(serve, time.Duration(*grace)*time.Second)
	}
	return now.Add(serve)
}

// preStopSleep is the longest preStop sleep of the Pod's containers.
func preStopSleep(pod *corev1.Pod) time.Duration {
	var longest time.Duration
	for _, c := range pod.Spec.Containers {
		if c.Lifecycle != nil && c.Lifecycle.PreStop != nil && c.Lifecycle.PreStop.Sleep != nil {
			longest = max(longest, time.Duration(c.Lifecycle.PreStop.Sleep.Seconds)*time.Second)
		}
	}
	return longest
}

// discard ends what is left of a Pod whose object is gone: by then nobody grants it any grace.
func (r *runner) discard(name cache.ObjectName, s *sandbox) error {
	if s == nil {
		return nil
	}
	s.kill()
	r.addresses.release(s.address, s.uid)
	r.counters.forget(s.uid)
	r.mu.Lock()
	delete(r.sandboxes, name)
	r.mu.Unlock()
	return s.clean()
}

// follow makes pod what the sandbox and its counter describe.
func (s *sandbox) follow(pod *corev1.Pod, counters *counters) {
	s.pod.Store(pod)
	counters.of(pod).follow(pod)
}

func (r *runner) sandbox(name cache.ObjectName) *sandbox {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sandboxes[name]
}

func (r *runner) remember(name cache.ObjectName, s *sandbox) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sandboxes[name] = s
}

// waker wakes the Pod's worker.
func (r *runner) waker(pod *corev1.Pod) func() {
	name := cache.MetaObjectToName(pod)
	return func() { r.queue.Add(name) }
}

// shutdown ends every Pod of a lab that goes down: processes may end by themselves for a moment, so that they can
// release what they hold in the API, then all is cut.
func (r *runner) shutdown() {
	r.mu.Lock()
	defer r.mu.Unlock()
	var failed error
	var processes []*process
	for _, s := range r.sandboxes {
		for _, c := range s.containers {
			if p, ok := c.work.(*process); ok {
				p.stop(shutdownGrace)
				processes = append(processes, p)
			}
		}
	}
	for _, p := range processes {
		<-p.ended
	}
	for _, s := range r.sandboxes {
		s.kill()
		failed = errors.Join(failed, s.clean())
	}
	if failed != nil {
		slog.Error("files of Pods remain", "error", failed)
	}
}

// shutdownGrace is how long processes may take to end with the lab.
const shutdownGrace = 2 * time.Second
