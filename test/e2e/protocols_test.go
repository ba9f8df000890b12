package e2e

import (
	"maps"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// startWebWith is startWeb for Service web with other ports, written name:number. The caller starts the load on each
// URL.
func startWebWith(t *testing.T, ports ...string) story {
	t.Helper()
	s := newStory(t)
	s.Apply(all(webWith(ports...), web("web-v1")))
	harness.WaitReady(t, s.NS, "web-v1")
	return s
}

// shared fails the test unless each URL is split like this.
func (s story) shared(urls []string, want split) {
	s.T.Helper()
	for _, url := range urls {
		harness.AssertSplit(s.T, url, want)
	}
}

// grown takes web-v2 to 10 %, 50 %, 100 % and its promotion, and checks at each step which version serves.
func (s story) grown(urls ...string) {
	s.T.Helper()
	s.Apply(web("web-v2", "strategy: canary", `weight: "10"`))
	s.Programmed("web-v2", "canary 10% of web")
	s.shared(urls, split{"v1": 90, "v2": 10})
	s.Annotate("web-v2", "weight=50")
	s.Programmed("web-v2", "canary 50% of web")
	s.shared(urls, split{"v1": 50, "v2": 50})
	s.Annotate("web-v2", "weight=100")
	s.Programmed("web-v2", "canary 100% of web")
	s.shared(urls, split{"v2": 100})
	s.Annotate("web-v2", "strategy-", "weight-")
	s.shared(urls, split{"v2": 100})
}

// A port other than 80, as Istio's own samples have: clients whose traffic is captured follow the routes, and so do
// those that use their sidecar as an HTTP proxy.
func TestHTTPOnAnotherPort(t *testing.T) {
	s := startWebWith(t, "http:9080")
	captured, proxied := harness.URL(s.NS, "web", 9080), harness.ProxyURL(s.NS, "web", 9080)
	s.load(captured)
	s.load(proxied)
	s.grown(captured, proxied)
}

// The same for port 80 through the sidecar as an HTTP proxy.
func TestHTTPThroughAProxy(t *testing.T) {
	s := startWebWith(t, "http:80")
	url := harness.ProxyURL(s.NS, "web", 80)
	s.load(url)
	s.grown(url)
}

// Two HTTP ports are released as one, each with its own routes.
func TestTwoHTTPPorts(t *testing.T) {
	s := startWebWith(t, "http:80", "http-admin:9080")
	urls := []string{harness.URL(s.NS, "web", 80), harness.URL(s.NS, "web", 9080)}
	for _, url := range urls {
		s.load(url)
	}
	s.grown(urls...)
}

// gRPC: single calls are split by weight, though all of them use one connection. A stream stays with the version where
// it was opened. Neither a change of weight nor the promotion of the other version breaks it.
func TestGRPC(t *testing.T) {
	s := startWebWith(t, "grpc-api:9090")
	url := harness.GRPCURL(s.NS, "web", 9090)
	s.load(url)
	streams := harness.StartStreams(t, url, streamCount, loadRate)
	s.grown(url)
	s.keptTo(streams, "v1")
}

// A WebSocket, and an answer that comes in chunks as long as the client listens, stay with the version where they were
// opened, while the weights change.
func TestLongAnswers(t *testing.T) {
	s := startWebWith(t, "http:80")
	s.load(s.URL)
	sockets := harness.StartStreams(t, "ws"+s.URL[len("http"):], streamCount, loadRate)
	chunks := harness.StartStreams(t, s.URL, streamCount, loadRate)
	s.grown(s.URL)
	s.keptTo(sockets, "v1")
	s.keptTo(chunks, "v1")
}

const streamCount = 4

// keptTo ends streams that were opened before the release, and fails the test if one was broken, or answered by
// another version.
func (s story) keptTo(streams *harness.Load, version string) {
	s.T.Helper()
	seen := maps.Clone(streams.AssertNoneLost(s.T).Versions)
	if seen[version] == 0 {
		s.T.Errorf("version %s answered nothing on the streams", version)
	}
	delete(seen, version)
	delete(seen, harness.Unlabelled) // before stable was adopted
	if len(seen) > 0 {
		s.T.Errorf("the streams were opened to %s, and are answered by %v too", version, seen)
	}
}
