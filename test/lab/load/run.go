package load

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// progressEvery is the time between two lines on stderr.
const progressEvery = 5 * time.Second

// run sends the load and reports; ctx ends it early. Progress goes to progress.
func (p plan) run(ctx context.Context, progress io.Writer) (Report, error) {
	counts := mirrorCounts{url: p.lab.Pods, namespace: namespaceOf(p.target.Hostname())}
	before, err := counts.read(ctx)
	if err != nil {
		return Report{}, err
	}
	results, err := p.attack(ctx)
	if err != nil {
		return Report{}, err
	}
	read := readHTTP
	if p.streams > 0 || p.target.Scheme != "http" {
		read = readGreeting
	}
	t := newTally(p.target.String())
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for open := true; open; {
		select {
		case result, more := <-results:
			if open = more; more {
				t.add(result, read)
			}
		case <-ticker.C:
			t.progress(progress)
		}
	}
	report := t.close()
	// ctx may be over, by a signal: the report is still due.
	after, err := counts.settled(context.WithoutCancel(ctx))
	if err != nil {
		return Report{}, err
	}
	report.Mirrored = grown(before, after)
	return report, nil
}

func (t *tally) progress(w io.Writer) {
	var versions []string
	for _, version := range slices.Sorted(maps.Keys(t.report.Versions)) {
		versions = append(versions, fmt.Sprintf("%s %d", version, t.report.Versions[version]))
	}
	// Progress that cannot be shown changes nothing about the load.
	_, _ = fmt.Fprintf(w, "%4.0fs  answered %d  lost %d  %s\n", time.Since(t.began).Seconds(), t.report.Sent, t.report.Lost, strings.Join(versions, "  "))
}
