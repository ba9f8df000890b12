package annotator

import (
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
)

const (
	// shortest and longest bound the pause before the next try of what failed or has to wait for somebody.
	shortest = 10 * time.Millisecond
	longest  = 30 * time.Second
)

// pauses tell when to try again: after as long again as it has been waited for already. client-go's exponential limiter doubles
// with every try instead, and each event that comes meanwhile is one: a dozen of them made a wait of two seconds one of twenty.
type pauses[T comparable] struct {
	now    func() time.Time
	lock   sync.Mutex
	failed map[T]failures
}

type failures struct {
	since time.Time
	count int
}

var _ workqueue.TypedRateLimiter[string] = &pauses[string]{}

func newPauses[T comparable](now func() time.Time) *pauses[T] {
	return &pauses[T]{now: now, failed: map[T]failures{}}
}

// When is the pause before the next try.
func (p *pauses[T]) When(item T) time.Duration {
	p.lock.Lock()
	defer p.lock.Unlock()
	now := p.now()
	f, again := p.failed[item]
	if !again {
		f.since = now
	}
	f.count++
	p.failed[item] = f
	return min(max(shortest, now.Sub(f.since)), longest)
}

// Forget ends the wait.
func (p *pauses[T]) Forget(item T) {
	p.lock.Lock()
	defer p.lock.Unlock()
	delete(p.failed, item)
}

// NumRequeues is how often it was tried again.
func (p *pauses[T]) NumRequeues(item T) int {
	p.lock.Lock()
	defer p.lock.Unlock()
	return p.failed[item].count
}
