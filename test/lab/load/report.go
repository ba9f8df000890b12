package load

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"

	"grayscale.dev/grayscale/test/lab/pods"
)

// unlabelled stands for the version of Pods without label `version`.
const unlabelled = "unlabelled"

// Report is what `lab load -o json` prints.
type Report struct {
	URL     string  `json:"url"`
	Seconds float64 `json:"seconds"` // from the first request to the last answer
	RPS     float64 `json:"rps"`     // requests sent per second, as it really was
	Sent    int     `json:"sent"`
	// Lost counts errors, statuses of 500 and more, and answers that no Pod gave.
	Lost int `json:"lost"`
	// Versions counts the answers that Pods gave, failed ones included, by the Pod's label `version`; "unlabelled" without
	// it.
	Versions map[string]int `json:"versions"`
	// Mirrored counts the requests copied by mirroring to Pods of the URL's namespace meanwhile, by version.
	Mirrored map[string]int64 `json:"mirrored"`
	// Codes counts the answers by HTTP status; requests without an answer are not in it. Empty for others than HTTP
	// requests.
	Codes map[string]int `json:"codes"`
	// Errors says what was lost, why, how often and when, the most frequent first.
	Errors  []string `json:"errors"`
	Latency Latency  `json:"latency"`
}

// Latency gives percentiles in milliseconds, from the scheduled start to the last byte.
type Latency struct {
	P50 float64 `json:"p50_ms"`
	P90 float64 `json:"p90_ms"`
	P99 float64 `json:"p99_ms"`
	Max float64 `json:"max_ms"`
}

// tally adds results up.
type tally struct {
	report  Report
	metrics vegeta.Metrics
	losses  map[string]*loss
	began   time.Time
}

// loss is one kind of lost request; times since the first request.
type loss struct {
	count       int
	first, last time.Duration
}

func newTally(url string) *tally {
	return &tally{
		report: Report{URL: url, Versions: map[string]int{}, Mirrored: map[string]int64{}, Codes: map[string]int{}, Errors: []string{}},
		losses: map[string]*loss{},
		began:  time.Now(),
	}
}

func (t *tally) add(result *vegeta.Result, read func(*vegeta.Result) (version, failure string, answered bool)) {
	t.metrics.Add(result)
	t.report.Sent++
	if result.Code != 0 {
		t.report.Codes[strconv.Itoa(int(result.Code))]++
	}
	version, failure, answered := read(result)
	if answered {
		t.report.Versions[cmp.Or(version, unlabelled)]++
	}
	if failure == "" {
		return
	}
	t.report.Lost++
	at := result.Timestamp.Sub(t.began)
	if known, found := t.losses[failure]; found {
		known.count++
		known.first, known.last = min(known.first, at), max(known.last, at)
		return
	}
	t.losses[failure] = &loss{count: 1, first: at, last: at}
}

// readHTTP says which version answered, and why the request counts as lost, if it does.
func readHTTP(result *vegeta.Result) (version, failure string, answered bool) {
	if result.Code == 0 {
		return "", result.Error, false
	}
	var answer pods.Answer
	if err := json.Unmarshal(result.Body, &answer); err != nil || answer.Pod == "" {
		return "", fmt.Sprintf("%d, not from a Pod: %s", result.Code, excerpt(result.Body)), false
	}
	if result.Code >= 500 {
		failure = fmt.Sprintf("%d from version %s", result.Code, cmp.Or(answer.Version, unlabelled))
	}
	return answer.Version, failure, true
}

// readGreeting is readHTTP for an answer that is a Pod's greeting.
func readGreeting(result *vegeta.Result) (version, failure string, answered bool) {
	_, version, answered = pods.ParseGreeting(string(result.Body))
	if !answered && result.Error == "" {
		return "", "not a Pod's greeting: " + excerpt(result.Body), false
	}
	return version, result.Error, answered
}

func excerpt(body []byte) string {
	const most = 120
	if len(body) > most {
		body = body[:most]
	}
	return strconv.Quote(strings.TrimSpace(string(body)))
}

// close gives the finished report.
func (t *tally) close() Report {
	t.metrics.Close()
	r := t.report
	r.Seconds = (t.metrics.Duration + t.metrics.Wait).Seconds()
	r.RPS = t.metrics.Rate
	l := t.metrics.Latencies
	r.Latency = Latency{P50: milliseconds(l.P50), P90: milliseconds(l.P90), P99: milliseconds(l.P99), Max: milliseconds(l.Max)}
	kinds := slices.SortedFunc(maps.Keys(t.losses), func(a, b string) int {
		return cmp.Or(cmp.Compare(t.losses[b].count, t.losses[a].count), cmp.Compare(a, b))
	})
	for _, kind := range kinds {
		l := t.losses[kind]
		r.Errors = append(r.Errors, fmt.Sprintf("%dx %s (from %.3fs to %.3fs)", l.count, kind, l.first.Seconds(), l.last.Seconds()))
	}
	return r
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}

// write prints the report for people.
func (r Report) write(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	var out strings.Builder
	fmt.Fprintf(&out, "sent\t%d\tin %.1fs, %.1f/s\n", r.Sent, r.Seconds, r.RPS)
	fmt.Fprintf(&out, "lost\t%d\n", r.Lost)
	for _, version := range slices.Sorted(maps.Keys(r.Versions)) {
		n := r.Versions[version]
		fmt.Fprintf(&out, "version %s\t%d\t%.1f%%\n", version, n, percent(n, r.Sent))
	}
	for _, version := range slices.Sorted(maps.Keys(r.Mirrored)) {
		n := r.Mirrored[version]
		fmt.Fprintf(&out, "mirrored to %s\t%d\t%.1f%%\n", version, n, percent(int(n), r.Sent))
	}
	for _, code := range slices.Sorted(maps.Keys(r.Codes)) {
		fmt.Fprintf(&out, "status %s\t%d\n", code, r.Codes[code])
	}
	fmt.Fprintf(&out, "latency\tp50 %.1fms\tp90 %.1fms\tp99 %.1fms\tmax %.1fms\n", r.Latency.P50, r.Latency.P90, r.Latency.P99, r.Latency.Max)
	for _, e := range r.Errors {
		fmt.Fprintf(&out, "error\t%s\n", e)
	}
	if _, err := io.WriteString(table, out.String()); err != nil {
		return err
	}
	return table.Flush()
}

func percent(n, of int) float64 {
	if of == 0 {
		return 0
	}
	return 100 * float64(n) / float64(of)
}
