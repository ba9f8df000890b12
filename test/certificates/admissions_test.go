package certificates

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/test/harness"
)

const (
	perSecond = 100
	patience  = 30 * time.Second // of a client; a slower request has failed
	// mostAtOnce bounds the concurrent admissions. Two keep the pace if one takes less than 20 ms. On a slow machine each
	// more would cost one connection to each webhook with every bundle.
	mostAtOnce = 2
)

// admissions creates annotated Deployments, dry-run, at an even pace whether they are answered or not, up to
// mostAtOnce.
type admissions struct {
	client kubernetes.Interface
	ns     string
	stop   chan struct{}
	paced  sync.WaitGroup

	lock     sync.Mutex
	changed  *sync.Cond
	sent     int
	answered map[int]bool // those after the first gap
	upTo     int          // all before this one are answered
	failures []string
	slowest  time.Duration
}

// admit begins; the test's end, or end, stops it.
func admit(t *testing.T) *admissions {
	t.Helper()
	config := harness.Config()
	config.QPS, config.WarningHandler = -1, rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	a := &admissions{client: client, ns: harness.Namespace(t), stop: make(chan struct{}), answered: map[int]bool{}}
	a.changed = sync.NewCond(&a.lock)
	if err := a.ask(0); err != nil {
		t.Fatalf("before anything changes: %v", err)
	}
	a.paced.Go(a.pace)
	t.Cleanup(func() { a.end(t) })
	return a
}

func (a *admissions) pace() {
	begin, room := time.Now(), make(chan struct{}, mostAtOnce)
	for n := 0; ; n++ {
		select {
		case <-a.stop:
			return
		case <-time.After(time.Until(begin.Add(time.Duration(n) * time.Second / perSecond))):
		}
		room <- struct{}{}
		a.lock.Lock()
		a.sent++
		a.lock.Unlock()
		a.paced.Go(func() {
			a.note(n, time.Now(), a.ask(n))
			<-room
		})
	}
}

// ask is one admission. The label shows that the webhook was asked.
func (a *admissions) ask(n int) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	made, err := a.client.AppsV1().Deployments(a.ns).Create(ctx, candidate(n), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err == nil && made.Spec.Template.Labels[release.VersionLabel] != "v2" {
		return fmt.Errorf("admitted without being asked about: labels %v", made.Spec.Template.Labels)
	}
	return err
}

func candidate(n int) *appsv1.Deployment {
	return harness.App{Name: fmt.Sprintf("web-%d", n), Label: "web", Annotations: map[string]string{
		intent.KeyStrategy: "canary", intent.Prefix + "weight": "10", intent.Prefix + "version": "v2"}}.Deployment()
}

func (a *admissions) note(n int, since time.Time, err error) {
	a.lock.Lock()
	defer a.lock.Unlock()
	a.slowest = max(a.slowest, time.Since(since))
	if err != nil {
		a.failures = append(a.failures, fmt.Sprintf("%s, number %d: %v", time.Now().Format("15:04:05.000"), n, err))
	}
	a.answered[n] = true
	for ; a.answered[a.upTo]; a.upTo++ {
		delete(a.answered, a.upTo)
	}
	a.changed.Broadcast()
}

// settled waits until every request sent so far is answered, and the next ones as well: from then on the API server
// handles no request that began before.
func (a *admissions) settled() {
	a.lock.Lock()
	defer a.lock.Unlock()
	for next := a.sent + 2; a.upTo < next; {
		a.changed.Wait()
	}
}

// failed reports whether a request has failed so far.
func (a *admissions) failed() bool {
	a.lock.Lock()
	defer a.lock.Unlock()
	return len(a.failures) > 0
}

// end stops, and fails the test for every request that has failed.
func (a *admissions) end(t *testing.T) {
	t.Helper()
	select {
	case <-a.stop:
		return
	default:
	}
	close(a.stop)
	a.paced.Wait()
	t.Logf("%d admissions sent, %d failed, the slowest took %s", a.sent, len(a.failures), a.slowest.Round(time.Millisecond))
	for _, f := range a.failures[:min(len(a.failures), 10)] {
		t.Error(f)
	}
}
