package pods

import (
	"os/exec"
	"runtime"
	"syscall"
)

// spawner starts child processes that die with this one. Linux sends the parent-death signal when the thread that
// forked the child ends (prctl(2), PR_SET_PDEATHSIG), not the process: so all are started from one thread that never
// ends.
type spawner chan func()

func newSpawner() spawner {
	s := make(spawner)
	go func() {
		runtime.LockOSThread()
		for start := range s {
			start()
		}
	}()
	return s
}

// start starts cmd in its own process group.
func (s spawner) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	result := make(chan error, 1)
	s <- func() { result <- cmd.Start() }
	return <-result
}
