package harness

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// Unlabelled is the version of pods without the label version.
	Unlabelled = "unlabelled"

	askTimeout = 30 * time.Second
	// askers is how many requests run at once: enough to be quick, few enough not to starve Envoy on 2 cores.
	askers = 4
)

// Answer is one answer of the lab's echo app.
type Answer struct {
	Pod     string            `json:"pod"`
	Version string            `json:"version"`
	Labels  map[string]string `json:"labels"`
	Path    string            `json:"path"`
	Headers http.Header       `json:"headers"`
}

// URL is the address of a Service for mesh clients: http://web.<namespace>.svc.cluster.local/, with a port if it is not
// 80. Requests to it arrive like captured traffic: at the sidecar's listener for the port, with the Service in the Host
// header. Several Services may have that port if each declares it as HTTP.
func URL(namespace, service string, port int) string {
	host := fmt.Sprintf("%s.%s.svc.cluster.local", service, namespace)
	if port == 80 {
		return "http://" + host + "/"
	}
	return fmt.Sprintf("http://%s:%d/", host, port)
}

// ProxyURL is URL for clients that use their sidecar as an HTTP proxy.
func ProxyURL(namespace, service string, port int) string {
	return "proxy+" + URL(namespace, service, port)
}

// GRPCURL is URL for gRPC.
func GRPCURL(namespace, service string, port int) string {
	return ofScheme("grpc", namespace, service, port)
}

// TCPURL is URL for a port of plain TCP. The mesh client's sidecar has one listener per port for all namespaces, so
// each test uses its own port number.
func TCPURL(namespace, service string, port int) string {
	return ofScheme("tcp", namespace, service, port)
}

// TLSURL is TCPURL for a port behind which the pods speak TLS themselves.
func TLSURL(namespace, service string, port int) string {
	return ofScheme("tls", namespace, service, port)
}

func ofScheme(scheme, namespace, service string, port int) string {
	return fmt.Sprintf("%s://%s.%s.svc.cluster.local:%d", scheme, service, namespace, port)
}

// Ask sends one request (tcp://: opens one connection; tls://: shakes hands once) through the mesh client's sidecar.
// Only a load can send gRPC.
func Ask(address string) (Answer, error) {
	target, err := url.Parse(address)
	if err != nil {
		return Answer{}, err
	}
	switch target.Scheme {
	case "tcp":
		return askTCP(target.Port())
	case "tls":
		return askTLS(target.Hostname(), target.Port())
	}
	return askHTTP(address)
}

// meshAddress is where the sidecar receives the application's traffic to a Service's port.
func meshAddress(port string) (string, error) {
	n, err := strconv.Atoi(port)
	if err != nil {
		return "", fmt.Errorf("port %q: %w", port, err)
	}
	if n < 1024 {
		n += Lab().MeshLowPorts
	}
	return net.JoinHostPort(Lab().MeshHost, strconv.Itoa(n)), nil
}

// askTLS opens a TLS connection with the Service's name. The certificate says who answered: its subject's common name
// is the version.
func askTLS(name, port string) (Answer, error) {
	dialer := tls.Dialer{NetDialer: &net.Dialer{Timeout: askTimeout}, Config: &tls.Config{ServerName: name, InsecureSkipVerify: true}}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	address, err := meshAddress(port)
	if err != nil {
		return Answer{}, err
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return Answer{}, fmt.Errorf("port %s: %w", port, err)
	}
	defer func() { _ = conn.Close() }() // nothing is sent
	shaken, ok := conn.(*tls.Conn)
	if !ok {
		return Answer{}, fmt.Errorf("port %s: %T is no TLS connection", port, conn)
	}
	return Answer{Version: shaken.ConnectionState().PeerCertificates[0].Subject.CommonName}, nil
}

func askTCP(port string) (Answer, error) {
	address, err := meshAddress(port)
	if err != nil {
		return Answer{}, err
	}
	conn, err := net.DialTimeout("tcp", address, askTimeout)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = conn.Close() }() // only reads
	if err := conn.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return Answer{}, err
	}
	// The app speaks first: "<pod> <version>\n".
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return Answer{}, fmt.Errorf("port %s, after the greeting %q: %w", port, line, err)
	}
	pod, version, found := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
	if !found {
		return Answer{}, fmt.Errorf("port %s greets with %q", port, line)
	}
	return Answer{Pod: pod, Version: version}, nil
}

// captured sends every request to the sidecar's listener for its port, each on a new connection. It never retries.
var captured = &http.Client{Timeout: askTimeout, Transport: &http.Transport{DisableKeepAlives: true,
	DialContext: func(ctx context.Context, network, host string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(host)
		if err != nil {
			return nil, err
		}
		address, err := meshAddress(port)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}}}

// proxied is captured through the sidecar's HTTP proxy.
var proxied = sync.OnceValue(func() *http.Client {
	proxy, err := url.Parse(Lab().MeshProxy)
	if err != nil {
		panic(fmt.Sprintf("lab.json: meshProxy %q: %v", Lab().MeshProxy, err))
	}
	return &http.Client{Timeout: askTimeout, Transport: &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}}
})

func askHTTP(address string) (Answer, error) {
	client := captured
	target, byProxy := strings.CutPrefix(address, "proxy+")
	if byProxy {
		client = proxied()
	}
	response, err := client.Get(target)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = response.Body.Close() }() // only reads
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	var a Answer
	if response.StatusCode != http.StatusOK {
		return a, fmt.Errorf("%s: %s: %s", address, response.Status, body)
	}
	return a, json.Unmarshal(body, &a)
}

// WaitServed waits until a Service answers through the mesh so many times in a row that none of its versions can still
// be failing.
func WaitServed(t testing.TB, address string) {
	t.Helper()
	const row = 30
	limit := time.Now().Add(Patience)
	if strings.HasPrefix(address, "grpc:") {
		Eventually(t, address+" answers", func() error {
			if r := burst(t, address, row); r.Lost > 0 {
				return fmt.Errorf("%d of %d calls were lost: %q", r.Lost, r.Sent, r.Errors)
			}
			return nil
		})
		return
	}
	for good := 0; good < row; {
		_, err := Ask(address)
		if err == nil {
			good++
			continue
		}
		if time.Now().After(limit) {
			t.Fatalf("%s did not answer within %s: %v", address, Patience, err)
		}
		good = 0
		time.Sleep(pollPause)
	}
}

// Counts sends n requests and counts the answers by version. A lost request fails the test.
func Counts(t testing.TB, address string, n int) map[string]int {
	t.Helper()
	if strings.HasPrefix(address, "grpc:") {
		r := burst(t, address, n)
		if r.Lost > 0 {
			t.Fatalf("%d of %d calls of %s were lost: %q", r.Lost, r.Sent, address, r.Errors)
		}
		return r.Versions
	}
	todo := make(chan struct{}, n)
	for range n {
		todo <- struct{}{}
	}
	close(todo)
	var (
		mu   sync.Mutex
		seen = map[string]int{}
		lost []error
		all  sync.WaitGroup
	)
	for range askers {
		all.Go(func() {
			for range todo {
				a, err := Ask(address)
				mu.Lock()
				if err != nil {
					lost = append(lost, err)
				} else {
					seen[cmp.Or(a.Version, Unlabelled)]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if len(lost) > 0 {
		t.Fatalf("%d of %d requests to %s were lost, the first: %v", len(lost), n, address, lost[0])
	}
	return seen
}
