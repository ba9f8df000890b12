package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"grayscale.dev/grayscale/annotator"
	"grayscale.dev/grayscale/observe/store"
	"grayscale.dev/grayscale/webhook"
	"grayscale.dev/grayscale/webhook/certs"
)

//go:embed metrics.md.tmpl
var metricsTemplate string

// metric is one row of a table.
type metric struct{ Name, Type, Labels, Help string }

// libraries are the useful metrics of controller-runtime and client-go. These libraries choose the values of their
// labels. A test finds each name, type and label in a scrape of the real binary.
var libraries = []metric{
	{"leader_election_master_status", "gauge", "`name`", "1 in the replica that leads, with the name `grayscale`."},
	{"controller_runtime_reconcile_time_seconds", "histogram", "`controller`", "How long a decision and its writes take; the controller is `annotator`."},
	{"controller_runtime_reconcile_errors_total", "counter", "`controller`", "Decisions that could not be acted on."},
	{"controller_runtime_reconcile_panics_total", "counter", "`controller`", "Faults of grayscale's own."},
	{"controller_runtime_webhook_latency_seconds", "histogram", "`webhook`", "How long an answer takes. `webhook` is a path; answers about the end of a Deployment wait for its traffic to go."},
	{"controller_runtime_webhook_requests_total", "counter", "`webhook`, `code`", "Answers by HTTP status: 500 is a failure, a refusal is 200."},
	{"controller_runtime_webhook_requests_in_flight", "gauge", "`webhook`", "Questions that wait for their answer."},
	{"workqueue_depth", "gauge", "`name`", "Services that wait to be decided about; the name is `annotator`."},
	{"workqueue_queue_duration_seconds", "histogram", "`name`", "How long they wait."},
	{"rest_client_requests_total", "counter", "`method`, `code`", "Requests to the API server."},
	{"process_resident_memory_bytes", "gauge", "", "Memory, which grows with the Deployments and Pods of the cluster."},
	{"process_cpu_seconds_total", "counter", "", "CPU time."},
	{"go_goroutines", "gauge", "", "Goroutines; a number that grows for ever is a leak."},
}

// apiServer are the API server's own metrics about grayscale's webhooks: only the API server knows which calls failed.
var apiServer = []metric{
	{"apiserver_admission_webhook_rejection_count", "counter", "`name`, `type`, `operation`, `error_type`, `rejection_code`", "Requests refused. `error_type` is `no_error` where the webhook refused, `calling_webhook_error` where it could not be asked under failurePolicy Fail."},
	{"apiserver_admission_webhook_fail_open_count", "counter", "`name`, `type`", "Requests let through because the webhook could not be asked, under failurePolicy Ignore."},
	{"apiserver_admission_webhook_admission_duration_seconds", "histogram", "`name`, `type`, `operation`, `rejected`", "How long an answer takes, as the API server sees it."},
}

// metrics is docs/metrics.md.
func metrics() ([]byte, error) {
	ours, err := registered(slices.Concat(annotator.Collectors(), store.Collectors(), webhook.Collectors(), certs.Collectors()))
	if err != nil {
		return nil, err
	}
	t, err := template.New("metrics").Funcs(template.FuncMap{"cell": cell}).Parse(metricsTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string][]metric{"Ours": ours, "Libraries": libraries, "APIServer": apiServer})
	return out.Bytes(), err
}

// registered reads the tables' rows from the collectors.
func registered(collectors []prometheus.Collector) ([]metric, error) {
	registry := prometheus.NewRegistry()
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
		if v, ok := c.(*prometheus.GaugeVec); ok {
			_, _ = v.GetMetricWith(nil) // creates the series of a metric without labels; the others already have theirs
		}
	}
	families, err := registry.Gather()
	if err != nil {
		return nil, err
	}
	if len(families) != len(collectors) {
		return nil, fmt.Errorf("%d of %d metrics have series: the others cannot be told of", len(families), len(collectors))
	}
	var out []metric
	for _, f := range families {
		out = append(out, metric{f.GetName(), strings.ToLower(f.GetType().String()), labels(f), f.GetHelp()})
	}
	return out, nil
}

// labels lists a family's labels with all values that they can have.
func labels(f *dto.MetricFamily) string {
	var names []string
	values := map[string][]string{}
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if !slices.Contains(names, l.GetName()) {
				names = append(names, l.GetName())
			}
			if !slices.Contains(values[l.GetName()], l.GetValue()) {
				values[l.GetName()] = append(values[l.GetName()], l.GetValue())
			}
		}
	}
	var out []string
	for _, name := range names {
		out = append(out, fmt.Sprintf("`%s`: %s", name, strings.Join(values[name], ", ")))
	}
	return strings.Join(out, "; ")
}
