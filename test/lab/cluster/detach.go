package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// detach starts `lab up` with these arguments in a session of its own, prints its progress, and returns once the lab is
// ready. The lab goes on without the caller; when ctx ends before that, it is taken down.
func detach(ctx context.Context, dir string, args []string, out, errOut io.Writer) error {
	d, err := openDirectory(dir)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the lab's own binary: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = read.Close() }()
	cmd := exec.Command(self, args...)
	cmd.ExtraFiles = []*os.File{write} // becomes reportFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = startWithLog(cmd, d)
	if err := errors.Join(err, write.Close()); err != nil {
		return err
	}
	stopped := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stopped()
	lines := bufio.NewScanner(read)
	for lines.Scan() {
		to := out
		if strings.HasPrefix(lines.Text(), failurePrefix) {
			to = errOut
		}
		if _, err := fmt.Fprintln(to, lines.Text()); err != nil {
			return err
		}
	}
	if state, err := ReadState(dir); err == nil && state.PIDs["lab"] == cmd.Process.Pid && ctx.Err() == nil {
		return cmd.Process.Release() // ready: it wrote where to find it
	}
	if err := cmd.Wait(); err != nil {
		return ErrReported // what went wrong was the last line of its progress
	}
	return ctx.Err()
}

// startWithLog starts the detached lab with its output in DIR/lab.log.
func startWithLog(cmd *exec.Cmd, d directory) error {
	if err := os.MkdirAll(string(d), 0o755); err != nil {
		return fmt.Errorf("make the lab's directory: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(string(d), "lab.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the lab's log: %w", err)
	}
	defer func() { _ = log.Close() }() // the lab has its own copy
	cmd.Stdout, cmd.Stderr = log, log
	return cmd.Start()
}

// ErrReported is a failure about which the user has been told already.
var ErrReported = errors.New("the lab did not come up")
