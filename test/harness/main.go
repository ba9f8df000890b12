// Package harness runs a package's tests against one lab: a real API server, istiod and Envoy on loopback addresses.
// A test gets its own namespace, clients, load that runs for its whole length, and checks of which version served.
package harness

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// Options configure the lab of a package's tests.
type Options struct {
	// Grayscale installs manifests/base and runs bin/grayscale as its pod.
	Grayscale bool
	// Debounce is istiod's PILOT_DEBOUNCE_AFTER; zero leaves the lab's own default of 10 ms.
	Debounce time.Duration
	// Settle is grayscale's --settle, for packages that neither send requests nor count writes; zero leaves the manifests'
	// default of 2 s. The EndpointSlice controller may back off for a second, and a write has half of settle: shorter
	// values lose requests.
	Settle time.Duration
}

// Main returns the exit code for a package's TestMain. It starts a lab, runs the tests and stops the lab, even if the
// tests panic, time out or are interrupted.
//
//	func TestMain(m *testing.M) { os.Exit(harness.Main(m, harness.Options{Grayscale: true})) }
func Main(m *testing.M, o Options) (code int) {
	l, err := up(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		return 1
	}
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-interrupted
		l.down()
		os.Exit(130) // 128 + SIGINT, as shells report it
	}()
	defer func() {
		signal.Stop(interrupted)
		if code != 0 {
			l.showComponents()
		}
		l.down()
	}()
	running = l
	return max(m.Run(), l.rightsSuffice())
}

// rightsSuffice fails the package if the installed grayscale sent a request that its roles do not allow.
func (l *lab) rightsSuffice() (code int) {
	if l.base == "" {
		return 0
	}
	missing, err := l.missing()
	for _, q := range missing {
		fmt.Fprintf(os.Stderr, "grayscale has no right to %s\n", q)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grayscale's rights:", err)
	}
	if err != nil || len(missing) > 0 {
		return 1
	}
	return 0
}

// running is the lab of this test binary, set once before any test runs.
var running *lab

// Lab returns the addresses of the running lab. Without harness.Main in TestMain there is none: a mistake in the test.
func Lab() Endpoints {
	return current().Endpoints
}

func current() *lab {
	if running == nil {
		panic("no lab: the package needs func TestMain(m *testing.M) { os.Exit(harness.Main(m, harness.Options{})) }")
	}
	running.depends.Do(running.depend)
	return running
}
