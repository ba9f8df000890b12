package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// family is the lab's child processes. Each has its own process group and dies with the supervisor, even when that is
// killed with SIGKILL.
type family struct {
	requests chan spawnRequest
	died     chan death

	mu       sync.Mutex
	children []*child
	ending   bool
}

// child is one running component.
type child struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed once the process is reaped
}

// death is a component that ended without being asked to; again starts it as it was started.
type death struct {
	component string
	err       error
	again     func() error
}

type spawnRequest struct {
	cmd   *exec.Cmd
	reply chan error
}

func newFamily() *family {
	f := &family{requests: make(chan spawnRequest), died: make(chan death, 16)}
	go f.forker()
	return f
}

// forker starts every child from one OS thread that lives as long as the process: the kernel sends the parent-death
// signal when the thread that forked ends, not when the process does (prctl(2), PR_SET_PDEATHSIG).
func (f *family) forker() {
	runtime.LockOSThread()
	for request := range f.requests {
		request.reply <- request.cmd.Start()
	}
}

// start runs a component with its output in logFile.
func (f *family) start(name, logFile string, env []string, path string, args ...string) error {
	output, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("%s: open its log: %w", name, err)
	}
	defer func() { _ = output.Close() }() // the child has its own copy
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = output, output
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	request := spawnRequest{cmd: cmd, reply: make(chan error, 1)}
	f.requests <- request
	if err := <-request.reply; err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	c := &child{name: name, cmd: cmd, done: make(chan struct{})}
	f.mu.Lock()
	f.children = append(f.children, c)
	f.mu.Unlock()
	again := func() error { return f.start(name, logFile, env, path, args...) }
	go f.reap(c, logFile, again)
	return nil
}

func (f *family) reap(c *child, logFile string, again func() error) {
	err := c.cmd.Wait()
	close(c.done)
	f.mu.Lock()
	ending := f.ending
	if !ending { // its number may be another process's from now on
		f.children = slices.DeleteFunc(f.children, func(other *child) bool { return other == c })
	}
	f.mu.Unlock()
	if ending {
		return
	}
	if err == nil {
		err = errors.New("exit status 0")
	}
	f.died <- death{c.name, fmt.Errorf("%s ended: %w: see %s", c.name, err, logFile), again}
}

// pids are the processes by component.
func (f *family) pids() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	pids := map[string]int{"lab": os.Getpid()}
	for _, c := range f.children {
		pids[c.name] = c.cmd.Process.Pid
	}
	return pids
}

// end takes all children down, the youngest first. Only those named in graceful are asked politely, for at most grace:
// the others hold nothing that outlives the lab.
func (f *family) end(grace time.Duration, graceful ...string) {
	f.mu.Lock()
	f.ending = true
	children := f.children
	f.mu.Unlock()
	deadline := time.After(grace)
	for i := len(children) - 1; i >= 0; i-- {
		c := children[i]
		for _, name := range graceful {
			if c.name == name {
				_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
				select {
				case <-c.done:
				case <-deadline:
				}
			}
		}
		_ = syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL) // the whole group; it may have ended by itself
	}
	for _, c := range children {
		<-c.done
	}
}
