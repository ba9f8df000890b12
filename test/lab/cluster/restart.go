package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// restart kills a component of a running lab and waits until the supervisor has started it again. The supervisor is
// told by a file, so that it does not take the death for the end of the lab; the file is gone once the new process
// runs.
func restart(ctx context.Context, dir, component string) error {
	state, err := ReadState(dir)
	if err != nil {
		return err
	}
	pid, known := state.PIDs[component]
	if !known || component == "lab" {
		delete(state.PIDs, "lab")
		return fmt.Errorf("%q is no component of the lab: choose one of %s", component, strings.Join(slices.Sorted(maps.Keys(state.PIDs)), ", "))
	}
	d, err := openDirectory(dir)
	if err != nil {
		return err
	}
	request := d.restart(component)
	if err := os.WriteFile(request, nil, 0o600); err != nil {
		return fmt.Errorf("ask for the restart: %w", err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("end %s (process %d): %w", component, pid, err)
	}
	err = wait.PollUntilContextTimeout(ctx, probeInterval, readyTimeout, true, func(context.Context) (bool, error) {
		_, err := os.Stat(request)
		return errors.Is(err, os.ErrNotExist), nil
	})
	if err != nil {
		return fmt.Errorf("the lab in %s does not start %s again: %w", d, component, err)
	}
	return waitForAPIServer(ctx, d)
}

func waitForAPIServer(ctx context.Context, d directory) error {
	config, err := clientcmd.BuildConfigFromFlags("", d.kubeconfig())
	if err != nil {
		return err
	}
	config.Timeout = 2 * time.Second // per question
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	if err := waitFor(ctx, client, config.Host+"/readyz"); err != nil {
		return fmt.Errorf("kube-apiserver is not ready: %w: see %s", err, d.log("kube-apiserver"))
	}
	return nil
}

// mind ends the lab with the first component that dies, unless `lab restart` killed it.
func (l *lab) mind(ctx context.Context, cancel context.CancelCauseFunc) {
	for {
		select {
		case <-ctx.Done():
			return
		case dead := <-l.family.died:
			if err := l.startAgain(dead); err != nil {
				cancel(err)
				return
			}
		}
	}
}

// startAgain starts what was killed on purpose; any other death is the error.
func (l *lab) startAgain(dead death) error {
	request := l.dir.restart(dead.component)
	if _, err := os.Stat(request); err != nil {
		if taken := l.ports.firstTaken(rolesOf(dead.component)); taken != nil {
			return taken // it says more than that the component ended
		}
		return dead.err
	}
	if err := dead.again(); err != nil {
		return err
	}
	if err := l.state().write(l.dir.state()); err != nil {
		return err
	}
	return os.Remove(request)
}
