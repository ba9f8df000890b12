// Package harness runs a package's tests against one lab: a real API server, istiod and Envoy on loopback addresses.
// A test gets a namespace of its own, clients, load that runs for its whole length, and answers to who served what.
package harness

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// Options choose what the lab of a package's tests runs.
type Options struct {
	// Grayscale installs manifests/base and runs bin/grayscale as its pod.
	Grayscale bool
	// Debounce is istiod's PILOT_DEBOUNCE_AFTER; zero leaves the lab's own default of 10 ms.
	Debounce time.Duration
	// Settle is grayscale's --settle, for packages that neither send requests nor count writes; zero leaves the manifests'
	// default of 2 s. Requests are lost at less than the second for which the EndpointSlice controller may back off, and a
	// write has half of it.
	Settle time.Duration
}

// Main is what a package's TestMain hands to os.Exit: it starts a lab, runs the tests and takes the lab down, also
// when the tests panic, time out or are interrupted.
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

// rightsSuffice fails the package where the installed grayscale asked for something that its roles do not allow.
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

// Lab says where the running lab is. Without harness.Main in TestMain there is none, which is a mistake of the test's.
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
