package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDirectoryBelongsToOneLab(t *testing.T) {
	d := directory(t.TempDir())
	if _, running, err := d.owner(); running || err != nil {
		t.Fatalf("an empty directory: running %t, %v", running, err)
	}
	lock, err := d.acquire()
	if err != nil {
		t.Fatal(err)
	}
	if pid, running, err := d.owner(); pid != os.Getpid() || !running || err != nil {
		t.Errorf("owner: %d, %t, %v; want this process, %d", pid, running, err, os.Getpid())
	}
	if _, err := d.acquire(); err == nil || !strings.Contains(err.Error(), "lab down") {
		t.Errorf("a second lab: error %v; want one that tells how to end the first", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	if _, running, err := d.owner(); running || err != nil {
		t.Errorf("after its end: running %t, %v", running, err)
	}
	if ended, err := down(context.Background(), string(d)); ended || err != nil {
		t.Errorf("down without a lab: %t, %v", ended, err)
	}
}

func TestCleanKeepsWhatIsNotALabs(t *testing.T) {
	d := directory(t.TempDir())
	for _, name := range []string{"lab.json", "mine.txt"} {
		if err := os.WriteFile(d.file(name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.clean(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(d.file("mine.txt")); err != nil {
		t.Error("a file of the user's is gone")
	}
	if _, err := ReadState(string(d)); err == nil || !strings.Contains(err.Error(), "lab up") {
		t.Errorf("state of a lab that is not up: error %v; want one that tells how to start it", err)
	}
}

func TestFamilyEndsWithItsMembers(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	f := newFamily()
	for _, name := range []string{"polite", "stubborn"} {
		script := "exec sleep 60"
		if name == "stubborn" { // and with a child of its own
			script = "trap '' TERM; sleep 60 & wait"
		}
		if err := f.start(name, log, nil, "/bin/sh", "-c", script); err != nil {
			t.Fatal(err)
		}
	}
	pids := f.pids()
	f.end(100*time.Millisecond, "polite", "stubborn")
	for _, name := range []string{"polite", "stubborn"} {
		if err := syscall.Kill(-pids[name], 0); !errors.Is(err, syscall.ESRCH) && !zombiesOnly(pids[name]) {
			t.Errorf("%s: its process group %d is still there: %v", name, pids[name], err)
		}
	}
	select {
	case dead := <-f.died:
		t.Errorf("%s was reported as dead, though it was ended on purpose", dead.component)
	default:
	}
}

// zombiesOnly tells whether nothing of a process group runs any more: a grandchild waits for whoever adopted it.
func zombiesOnly(group int) bool {
	deadline := time.Now().Add(2 * time.Second)
	for time.Now().Before(deadline) {
		if !runs(group) {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

// runs looks for a live process of a group in /proc (proc_pid_stat(5): after the name come state, parent and group).
func runs(group int) bool {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // ended meanwhile
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 2 && fields[2] == strconv.Itoa(group) && fields[0] != "Z" {
			return true
		}
	}
	return false
}

func TestDeathOfAMemberIsReported(t *testing.T) {
	f := newFamily()
	log := filepath.Join(t.TempDir(), "log")
	if err := f.start("etcd", log, nil, "/bin/sh", "-c", "exit 3"); err != nil {
		t.Fatal(err)
	}
	select {
	case dead := <-f.died:
		if dead.component != "etcd" || !strings.Contains(dead.err.Error(), log) {
			t.Errorf("%s: %v; want etcd, and where its log is", dead.component, dead.err)
		}
	case <-time.After(5 * time.Second):
		t.Error("nobody was told of the death")
	}
	f.end(time.Second)
}

func TestKilledOnPurposeStartsAgain(t *testing.T) {
	l := &lab{dir: directory(t.TempDir()), family: newFamily()}
	if err := l.dir.clean(); err != nil {
		t.Fatal(err)
	}
	if err := l.family.start("etcd", l.dir.log("etcd"), nil, "/bin/sh", "-c", "exec sleep 60"); err != nil {
		t.Fatal(err)
	}
	defer l.family.end(time.Second)
	kill := func() death {
		if err := syscall.Kill(l.family.pids()["etcd"], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return <-l.family.died
	}
	before := l.family.pids()["etcd"]
	if err := os.WriteFile(l.dir.restart("etcd"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.startAgain(kill()); err != nil {
		t.Fatal(err)
	}
	if now := l.family.pids()["etcd"]; now == before || now == 0 {
		t.Errorf("process %d was killed on purpose, and now there is %d", before, now)
	}
	if _, err := os.Stat(l.dir.restart("etcd")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the request for a restart is still there: %v", err)
	}
	if err := l.startAgain(kill()); err == nil {
		t.Error("a death that nobody asked for is no end of the lab")
	}
}
