package load

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
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
	address, err := p.address()
	if err != nil {
		return nil, err
	}
	switch {
	case p.streams > 0:
		return p.holdStreams(ctx, address), nil
	case p.target.Scheme == "tcp":
		return p.openLoop(ctx, pacer, tcpCaller(address)), nil
	case p.target.Scheme == "grpc":
		conn, err := p.dialGRPC(address)
		if err != nil {
			return nil, err
		}
		return p.openLoop(ctx, pacer, grpcCaller{conn}), nil
	}
	client, err := p.client(address)
	if err != nil {
		return nil, err
	}
	attacker := vegeta.NewAttacker(vegeta.Client(client))
	context.AfterFunc(ctx, func() { attacker.Stop() })
	target := vegeta.Target{Method: p.method, URL: p.target.String(), Header: p.headers}
	return attacker.Attack(vegeta.NewStaticTargeter(target), pacer, p.during, ""), nil
}

// address is where the way into the mesh begins: what the mesh client's sidecar or the gateway listens on.
func (p plan) address() (string, error) {
	way := map[string]string{viaProxy: p.lab.MeshProxy, viaGateway: p.lab.Gateway}[p.via]
	if p.via == viaMesh {
		port := 80
		if p.target.Port() != "" {
			var err error
			if port, err = strconv.Atoi(p.target.Port()); err != nil {
				return "", fmt.Errorf("--url %s: port: %w", p.target, err)
			}
		}
		return p.lab.MeshAddress(port), nil
	}
	via, err := url.Parse(way)
	if err != nil || via.Host == "" {
		return "", fmt.Errorf("lab.json gives %q as the way in, which is no URL: start the lab anew", way)
	}
	return via.Host, nil
}

// client sends as an application does whose traffic its sidecar captures, which is how a gateway takes requests as
// well: the connection goes to address, the URL says what is asked for. A sidecar that serves as an HTTP proxy is asked
// otherwise.
func (p plan) client(address string) (*http.Client, error) {
	transport := &http.Transport{MaxIdleConnsPerHost: idleConnections, DisableCompression: true}
	if p.via == viaProxy {
		transport.Proxy = http.ProxyURL(&url.URL{Scheme: "http", Host: address})
	} else {
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		}
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

// caller asks once; the answer is the greeting of a Pod.
type caller interface {
	call(ctx context.Context) (greeting string, err error)
	close() // after the last call
}

// openLoop calls at the pacer's rate, each time in its own goroutine, so that a slow answer delays none. The greeting
// becomes the result's body.
func (p plan) openLoop(ctx context.Context, pacer vegeta.Pacer, c caller) <-chan *vegeta.Result {
	results := make(chan *vegeta.Result)
	go func() {
		defer close(results)
		defer c.close()
		var open sync.WaitGroup
		defer open.Wait()
		began := time.Now()
		for sent := uint64(0); ; sent++ {
			elapsed := time.Since(began)
			wait, stop := pacer.Pace(elapsed, sent)
			if stop || elapsed+wait > p.during {
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			open.Go(func() {
				limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout) // what is sent is to be answered
				defer cancel()
				results <- p.exchange(func() (string, error) { return c.call(limited) })
			})
		}
	}()
	return results
}

// exchange asks once and tells what came of it.
func (p plan) exchange(ask func() (string, error)) *vegeta.Result {
	result := &vegeta.Result{Timestamp: time.Now(), Method: strings.ToUpper(p.target.Scheme), URL: p.target.String()}
	greeting, err := ask()
	result.Latency, result.Body = time.Since(result.Timestamp), []byte(greeting)
	if err != nil {
		result.Error = err.Error()
	}
	return result
}

// tcpCaller opens a connection to the address, reads the greeting and has one line echoed, so that both directions are
// known to work.
type tcpCaller string

func (address tcpCaller) call(ctx context.Context) (greeting string, err error) {
	conn, err := dialTCP(ctx, string(address))
	if err != nil {
		return "", err
	}
	defer conn.close()
	return conn.exchange(ctx)
}

func (address tcpCaller) close() {}
