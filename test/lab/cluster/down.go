package cluster

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// downTimeout is longer than the lab itself takes to end all of its processes.
const downTimeout = 3 * endGrace

// down ends the lab that runs in a directory and waits until it is gone; false when none runs there.
func down(ctx context.Context, dir string) (bool, error) {
	d, err := openDirectory(dir)
	if err != nil {
		return false, err
	}
	pid, running, err := d.owner()
	if err != nil || !running {
		return false, err
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return false, fmt.Errorf("end the lab in %s (process %d): %w", d, pid, err)
	}
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, downTimeout, true, func(context.Context) (bool, error) {
		_, running, err := d.owner()
		return !running, err
	})
	if err != nil {
		return false, fmt.Errorf("the lab in %s (process %d) did not end within %s: %w", d, pid, downTimeout, err)
	}
	return true, nil
}
