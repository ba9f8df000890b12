package annotator

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
)

// Parts are the dependencies of a controller. Setup takes them from a manager; a simulator provides its own.
type Parts struct {
	// Reader is what is known about the cluster.
	Reader observe.Reader
	// Confined fails for a namespace in which grayscale does nothing; with nil there is no such namespace.
	Confined func(namespace string) error
	// Client writes, and Live reads past the Reader.
	Client client.Client
	Live   client.Reader
	Events events.EventRecorder
	// Settings are passed to Decide unchanged.
	Settings routing.Settings
	// Outages may be nil.
	Outages *observe.Outages
	// Configuration is the name of the mutating webhook configuration.
	Configuration string
	Clock         Clock
	// Decide is routing.Decide.
	Decide func(routing.Facts, routing.Settings) routing.Decision
	// AtOnce is how many independent requests are sent at once. With 1, no goroutine is started.
	AtOnce int
}

// Clock is the source of time.
type Clock struct {
	// Now must not jump when the machine's clock is set.
	Now func() time.Time
	// Sleep returns early, with an error, where the context ends.
	Sleep func(context.Context, time.Duration) error
	// WithTimeout is context.WithTimeout.
	WithTimeout func(context.Context, time.Duration) (context.Context, context.CancelFunc)
}

// RealClock is the machine's time at the call, plus what has passed since by its monotonic clock.
func RealClock() Clock {
	begin := time.Now()
	now := func() time.Time { return begin.Add(time.Since(begin)) }
	return Clock{Now: now, Sleep: sleep, WithTimeout: context.WithTimeout}
}

func sleep(ctx context.Context, wait time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(wait):
		return nil
	}
}

// send makes independent requests, up to AtOnce at a time, until one fails.
func (p *Parts) send(ctx context.Context, requests []func(context.Context) error) error {
	if p.AtOnce == 1 || len(requests) == 1 {
		for _, request := range requests {
			if err := request(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(p.AtOnce)
	for _, request := range requests {
		group.Go(func() error { return request(ctx) })
	}
	return group.Wait()
}
