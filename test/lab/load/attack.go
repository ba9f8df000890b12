package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	vegeta "github.com/tsenart/vegeta/v12/lib"
)

const (
	// timeout bounds one request from its scheduled start to the last byte of its answer. It tells a request that nobody
	// answers from one on a machine that is slow for a while.
	timeout = 30 * time.Second
	// idleConnections is more than are ever open at once: a connection is never closed because others are idle.
	idleConnections = 10_000
)

// attack sends at the planned rate and gives every result; the channel is closed after the last answer.
func (p plan) attack(ctx context.Context) (<-chan *vegeta.Result, error) {
	pacer := vegeta.ConstantPacer{Freq: p.rps, Per: time.Second}
	if p.target.Scheme == "tcp" {
		return attackTCP(ctx, net.JoinHostPort(p.lab.MeshHost, p.target.Port()), pacer, p.during), nil
	}
	client, err := p.client()
	if err != nil {
		return nil, err
	}
	attacker := vegeta.NewAttacker(vegeta.Client(client))
	context.AfterFunc(ctx, func() { attacker.Stop() })
	target := vegeta.Target{Method: p.method, URL: p.target.String(), Header: p.headers}
	return attacker.Attack(vegeta.NewStaticTargeter(target), pacer, p.during, ""), nil
}

// client goes through the sidecar as an HTTP proxy, or straight to the gateway with the URL's host.
func (p plan) client() (*http.Client, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: idleConnections, DisableCompression: true}
	way := p.lab.MeshProxy
	if p.gateway {
		way = p.lab.Gateway
	}
	via, err := url.Parse(way)
	if err != nil || via.Host == "" {
		return nil, fmt.Errorf("lab.json gives %q as the way in, which is no URL: start the lab anew", way)
	}
	if p.gateway {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, via.Host)
		}
	} else {
		transport.Proxy = http.ProxyURL(via)
	}
	return &http.Client{
		Transport:     onceOnly{transport},
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// onceOnly keeps Go's transport from sending a request again on its own, which it does for a GET whose connection broke
// before the answer: a lost request would look like an answered one. A body that cannot be rewound forbids it.
type onceOnly struct{ http.RoundTripper }

// RoundTrip sends the request exactly once.
func (o onceOnly) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Body, request.GetBody, request.ContentLength = io.NopCloser(strings.NewReader("")), nil, 0
	return o.RoundTripper.RoundTrip(request)
}

// attackTCP opens connections to address at the pacer's rate, each in its own goroutine, so that a slow one delays none.
func attackTCP(ctx context.Context, address string, pacer vegeta.Pacer, during time.Duration) <-chan *vegeta.Result {
	results := make(chan *vegeta.Result)
	go func() {
		defer close(results)
		var open sync.WaitGroup
		defer open.Wait()
		began := time.Now()
		for sent := uint64(0); ; sent++ {
			elapsed := time.Since(began)
			wait, stop := pacer.Pace(elapsed, sent)
			if stop || elapsed+wait > during {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			open.Go(func() { results <- connect(address, sent) })
		}
	}()
	return results
}

// connect is one TCP "request": the greeting becomes the result's body.
func connect(address string, sequence uint64) *vegeta.Result {
	result := &vegeta.Result{Seq: sequence, Timestamp: time.Now(), Method: "TCP", URL: "tcp://" + address}
	greeting, err := converse(address, result.Timestamp.Add(timeout))
	result.Latency, result.Body = time.Since(result.Timestamp), []byte(greeting)
	if err != nil {
		result.Error = err.Error()
	}
	return result
}

// converse reads the greeting and has one line echoed, so that both directions are known to work.
func converse(address string, deadline time.Time) (greeting string, err error) {
	conn, err := (&net.Dialer{Deadline: deadline}).Dial("tcp", address)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }() // all that was awaited has been read
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	lines := bufio.NewReader(conn)
	if greeting, err = lines.ReadString('\n'); err != nil {
		return "", fmt.Errorf("read the Pod's greeting: %w", err)
	}
	const ping = "ping\n"
	if _, err := io.WriteString(conn, ping); err != nil {
		return greeting, fmt.Errorf("send a line: %w", err)
	}
	echoed, err := lines.ReadString('\n')
	if err != nil {
		return greeting, fmt.Errorf("read the echoed line: %w", err)
	}
	if echoed != ping {
		return greeting, fmt.Errorf("the echoed line differs: sent %q, got %q", ping, echoed)
	}
	return greeting, nil
}
