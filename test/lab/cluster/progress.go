package cluster

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// progress tells the user what became ready: one line per component.
type progress struct {
	start time.Time

	mu     sync.Mutex
	out    io.Writer
	report *os.File // where a detached lab also reports, until it is ready or has failed
}

// reportFD is the file descriptor on which a detached lab tells its starter of its progress.
const reportFD = 3

func newProgress(detached bool) *progress {
	p := &progress{start: time.Now(), out: os.Stdout}
	if detached {
		// Without this every child would hold the pipe open, and the starter would wait for ever.
		syscall.CloseOnExec(reportFD)
		p.report = os.NewFile(reportFD, "report")
	}
	return p
}

// ready says that something is usable, and how long after the start.
func (p *progress) ready(what, detail string) {
	p.line("%-24s ready after %4.1f s  %s", what, time.Since(p.start).Seconds(), detail)
}

func (p *progress) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := fmt.Sprintf(format, args...) + "\n"
	_, _ = io.WriteString(p.out, text) // progress that nobody reads is no reason to end a lab
	if p.report != nil {
		_, _ = io.WriteString(p.report, text)
	}
}

// failurePrefix starts the line with which a detached lab tells its starter why it did not come up.
const failurePrefix = "lab: "

// fail tells the starter of a detached lab why it did not come up.
func (p *progress) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report != nil {
		_, _ = fmt.Fprintf(p.report, "%s%v\n", failurePrefix, err)
	}
}

// endReport lets the starter of a detached lab go.
func (p *progress) endReport() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.report != nil {
		_ = p.report.Close()
		p.report = nil
	}
}
