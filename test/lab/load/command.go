// Package load is `lab load`: open-loop load through the lab's Envoys that tells who answered and what was lost.
package load

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"grayscale.dev/grayscale/test/lab/cluster"
)

// options are the flags of `lab load`.
type options struct {
	find    finder
	dir     string
	url     string
	rps     int
	during  time.Duration
	headers []string
	method  string
	via     string
	output  string
}

// finder says how to reach the lab that is up in a directory.
type finder func(dir string) (cluster.State, error)

// plan is options, checked.
type plan struct {
	lab     cluster.State
	target  *url.URL
	headers http.Header
	method  string
	rps     int
	during  time.Duration
	gateway bool // through the ingress gateway instead of the mesh client's sidecar
}

// Command is `lab load`. It prints a report and fails when a request was lost. SIGINT or SIGTERM ends the load early, with
// the report of what was sent.
func Command() *cobra.Command { return command(cluster.ReadState) }

// command finds the lab by find.
func command(find finder) *cobra.Command {
	o := options{find: find}
	cmd := &cobra.Command{
		Use:   "load --dir DIR --url URL",
		Short: "Send requests at a fixed rate and tell who answered and what was lost",
		Long: "Send requests at a fixed rate, however slow the answers are, and tell who answered and what was lost.\n" +
			"Lost is: an error, a status of 500 or more, or an answer that no Pod of the lab gave.\n" +
			"A tcp://host:port URL opens one connection per request, reads the line with which the Pod introduces itself,\n" +
			"and has one line echoed. No request is ever sent twice.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dir, "dir", "", "directory of a lab that is up")
	flags.StringVar(&o.url, "url", "", "http://HOST[:PORT]/PATH or tcp://HOST:PORT")
	flags.IntVar(&o.rps, "rps", 200, "requests (TCP: connections) per second")
	flags.DurationVar(&o.during, "for", 30*time.Second, "how long")
	flags.StringArrayVarP(&o.headers, "header", "H", nil, "request header, \"name: value\" or name:value; repeatable")
	flags.StringVar(&o.method, "method", http.MethodGet, "HTTP method; no body is sent")
	flags.StringVar(&o.via, "via", "mesh", "mesh (a client's sidecar) or gateway")
	flags.StringVarP(&o.output, "output", "o", "text", "text or json")
	for _, name := range []string{"dir", "url"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // a flag of this function is misspelt in this function
		}
	}
	return cmd
}

func (o options) run(cmd *cobra.Command) error {
	p, err := o.plan()
	if err != nil {
		return err
	}
	cmd.SilenceUsage = true // from here on an error is not about the flags
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	report, err := p.run(ctx, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if o.output == "json" {
		err = json.NewEncoder(cmd.OutOrStdout()).Encode(report)
	} else {
		err = report.write(cmd.OutOrStdout())
	}
	if err == nil && report.Lost > 0 {
		err = fmt.Errorf("%d of %d requests were lost", report.Lost, report.Sent)
	}
	return err
}

// plan checks the flags and finds the lab.
func (o options) plan() (plan, error) {
	target, err := url.Parse(o.url)
	if err != nil {
		return plan{}, fmt.Errorf("--url %q: %w", o.url, err)
	}
	if err := o.check(target); err != nil {
		return plan{}, err
	}
	p := plan{target: target, method: o.method, rps: o.rps, during: o.during, gateway: o.via == "gateway", headers: http.Header{}}
	for _, header := range o.headers {
		name, value, found := strings.Cut(header, ":")
		if !found || strings.TrimSpace(name) == "" {
			return plan{}, fmt.Errorf("--header %q is not allowed: write name:value", header)
		}
		p.headers.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	p.lab, err = o.find(o.dir)
	return p, err
}

func (o options) check(target *url.URL) error {
	switch {
	case target.Hostname() == "":
		return fmt.Errorf("--url %q names no host: write for example http://web.default.svc.cluster.local/", o.url)
	case target.Scheme != "http" && target.Scheme != "tcp":
		return fmt.Errorf("--url %q: scheme %q is not allowed: choose http or tcp", o.url, target.Scheme)
	case target.Scheme == "tcp" && target.Port() == "":
		return fmt.Errorf("--url %q names no port: write tcp://HOST:PORT", o.url)
	case target.Scheme == "tcp" && o.via != "mesh":
		return fmt.Errorf("--via %s does not carry tcp: use --via mesh", o.via)
	case o.via != "mesh" && o.via != "gateway":
		return fmt.Errorf("--via %q is not allowed: choose mesh or gateway", o.via)
	case o.output != "text" && o.output != "json":
		return fmt.Errorf("--output %q is not allowed: choose text or json", o.output)
	case o.rps < 1:
		return fmt.Errorf("--rps %d is not allowed: choose 1 or more", o.rps)
	case o.during <= 0:
		return fmt.Errorf("--for %s is not allowed: choose more than 0s", o.during)
	}
	return nil
}
