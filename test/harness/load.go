package harness

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Report is the result of a load, as `lab load -o json` prints it.
type Report struct {
	Sent     int            `json:"sent"`
	Lost     int            `json:"lost"`
	Versions map[string]int `json:"versions"` // answers by the pod's label version, "unlabelled" without it
	Mirrored map[string]int `json:"mirrored"` // copies by version
	Codes    map[string]int `json:"codes"`
	Errors   []string       `json:"errors"`
}

// Load is requests at a steady rate through the mesh, whatever the answers are.
type Load struct {
	t      testing.TB
	url    string
	cmd    *exec.Cmd
	out    bytes.Buffer
	errors bytes.Buffer
	once   sync.Once
	report Report
}

// StartLoad sends rps requests (tcp://: connections; grpc://: calls) per second to url until Stop, or until the test
// ends, which fails if one of them was lost. The Service should answer already: see WaitServed.
func StartLoad(t testing.TB, url string, rps int) *Load {
	t.Helper()
	l := StartCountedLoad(t, url, rps)
	t.Cleanup(func() { l.AssertNoneLost(t) })
	return l
}

// StartCountedLoad is StartLoad for stories in which pods fail while they serve requests, so that some are lost with
// any routing. It ends with the test, and the test checks how many were lost.
func StartCountedLoad(t testing.TB, url string, rps int) *Load {
	t.Helper()
	return startLoad(t, url, rps)
}

// StartStreams is StartLoad over streams that are opened now and kept open: TCP, gRPC, WebSocket (ws://), or HTTP,
// where each stream is one answer and its chunks are counted. A stream that breaks counts as lost.
func StartStreams(t testing.TB, url string, streams, rps int) *Load {
	t.Helper()
	l := startLoad(t, url, rps, "--streams", strconv.Itoa(streams))
	t.Cleanup(func() { l.AssertNoneLost(t) })
	return l
}

// burst is a load of about n requests, within a second or two.
func burst(t testing.TB, url string, n int) Report {
	t.Helper()
	const rate = 200
	l := newLoad(t, url, rate, time.Duration(n)*time.Second/rate)
	ended := l.cmd.Run() // non-zero if requests were lost: the report says how many
	if err := json.Unmarshal(l.out.Bytes(), &l.report); err != nil {
		t.Fatalf("load on %s gave no report: %v, %v\n%s", url, err, ended, l.errors.String())
	}
	return l.report
}

// newLoad is a load that is not started yet.
func newLoad(t testing.TB, url string, rps int, during time.Duration, flags ...string) *Load {
	lab := current()
	l := &Load{t: t, url: url}
	target, byProxy := strings.CutPrefix(url, "proxy+")
	args := append([]string{"load", "--dir", lab.Dir, "--url", target, "--rps", strconv.Itoa(rps), "--for", during.String(), "-o", "json"}, flags...)
	if byProxy {
		args = append(args, "--via", "proxy")
	}
	l.cmd = exec.Command(lab.binary, args...)
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.errors
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return l
}

func startLoad(t testing.TB, url string, rps int, flags ...string) *Load {
	t.Helper()
	l := newLoad(t, url, rps, time.Hour, flags...)
	if err := l.cmd.Start(); err != nil {
		t.Fatalf("load on %s: %v", url, err)
	}
	t.Cleanup(func() { l.Stop() })
	return l
}

// Stop ends the load and returns its report; it may be called twice.
func (l *Load) Stop() Report {
	l.t.Helper()
	l.once.Do(func() {
		signalled := l.cmd.Process.Signal(syscall.SIGINT)
		ended := l.cmd.Wait() // non-zero if requests were lost: the report says how many
		if err := json.Unmarshal(l.out.Bytes(), &l.report); err != nil || signalled != nil {
			l.t.Errorf("load on %s gave no report: %v, %v, %v\n%s", l.url, err, signalled, ended, l.errors.String())
		}
		l.t.Logf("load on %s: %d sent, %d lost, answers by version %v", l.url, l.report.Sent, l.report.Lost, l.report.Versions)
	})
	return l.report
}

// AssertNoneLost ends the load and fails the test if a request was lost, or where none was sent.
func (l *Load) AssertNoneLost(t testing.TB) Report {
	t.Helper()
	r := l.Stop()
	if r.Lost != 0 || r.Sent == 0 {
		t.Errorf("%d of %d requests to %s were lost: %q", r.Lost, r.Sent, l.url, r.Errors)
	}
	return r
}
