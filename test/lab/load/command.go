// Package load is `lab load`: open-loop load through the lab's Envoys that tells who answered and what was lost.
package load

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os/signal"
	"slices"
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
	streams int
	output  string
}

// The ways into the mesh.
const (
	viaMesh    = "mesh"
	viaProxy   = "proxy"
	viaGateway = "gateway"
)

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
	via     string
	streams int // held open instead of a request per answer; 0 for none
}

// Command is `lab load`. It prints a report and fails when a request was lost. SIGINT or SIGTERM ends the load early,
// with the report of what was sent.
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
			"and has one line echoed. A grpc://host:port URL makes unary calls on one connection. No request is ever sent twice.\n" +
			"With --streams the messages go over streams that stay open: of TCP, gRPC, ws:// (WebSocket), or http:// (one\n" +
			"answer without an end, each chunk of which counts). A stream that breaks is lost, and not opened again.\n" +
			"By default requests arrive as captured traffic does, at the port of the Service on a client's sidecar.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.dir, "dir", "", "directory of a lab that is up")
	flags.StringVar(&o.url, "url", "", "http://HOST[:PORT]/PATH, tcp://HOST:PORT, grpc://HOST:PORT or ws://HOST[:PORT]/PATH")
	flags.IntVar(&o.rps, "rps", 200, "requests (TCP: connections) per second")
	flags.DurationVar(&o.during, "for", 30*time.Second, "how long")
	flags.StringArrayVarP(&o.headers, "header", "H", nil, "request header, \"name: value\" or name:value; repeatable")
	flags.StringVar(&o.method, "method", http.MethodGet, "HTTP method; no body is sent")
	flags.StringVar(&o.via, "via", viaMesh, "mesh (a client's sidecar captures it), proxy (a client's sidecar as its HTTP proxy) or gateway")
	flags.IntVar(&o.streams, "streams", 0, "how many streams to hold open for the messages, instead of single requests")
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
	p := plan{target: target, method: o.method, rps: o.rps, during: o.during, via: o.via, streams: o.streams, headers: http.Header{}}
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
	case !slices.Contains([]string{"http", "tcp", "grpc", "ws"}, target.Scheme):
		return fmt.Errorf("--url %q: scheme %q is not allowed: choose http, tcp, grpc or ws", o.url, target.Scheme)
	case target.Port() == "" && (target.Scheme == "tcp" || target.Scheme == "grpc"):
		return fmt.Errorf("--url %q names no port: write %s://HOST:PORT", o.url, target.Scheme)
	case target.Scheme == "ws" && o.streams == 0:
		return fmt.Errorf("--url %q is a WebSocket: say with --streams how many to hold open", o.url)
	case !slices.Contains([]string{viaMesh, viaProxy, viaGateway}, o.via):
		return fmt.Errorf("--via %q is not allowed: choose mesh, proxy or gateway", o.via)
	case target.Scheme != "http" && o.via == viaProxy, target.Scheme == "tcp" && o.via == viaGateway:
		return fmt.Errorf("--via %s does not carry %s: use --via mesh", o.via, target.Scheme)
	case o.streams < 0:
		return fmt.Errorf("--streams %d is not allowed: choose 0 or more", o.streams)
	case o.output != "text" && o.output != "json":
		return fmt.Errorf("--output %q is not allowed: choose text or json", o.output)
	case o.rps < 1:
		return fmt.Errorf("--rps %d is not allowed: choose 1 or more", o.rps)
	case o.during <= 0:
		return fmt.Errorf("--for %s is not allowed: choose more than 0s", o.during)
	}
	return nil
}
