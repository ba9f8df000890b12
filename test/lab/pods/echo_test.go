package pods

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// freePort is a TCP port that nobody holds on the test address now.
func freePort(t *testing.T, address netip.Addr) int32 {
	t.Helper()
	l, err := net.Listen("tcp", netip.AddrPortFrom(address, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return int32(l.Addr().(*net.TCPAddr).Port)
}

type echoFixture struct {
	app     *echo
	base    string // host:port
	pod     atomic.Pointer[corev1.Pod]
	tcp     atomic.Bool
	counter *counter
	woken   chan struct{}
}

func newEcho(t *testing.T, b behaviour) *echoFixture {
	t.Helper()
	address := netip.MustParseAddr("127.251.0.9")
	port := freePort(t, address)
	f := &echoFixture{base: fmt.Sprintf("%s:%d", address, port), woken: make(chan struct{}, 1)}
	f.pod.Store(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web-1", Namespace: "shop", Labels: map[string]string{"app": "web"}}})
	f.counter = &counter{pod: f.pod.Load()}
	var err error
	f.app, err = startEcho(echoSettings{
		container: &corev1.Container{Name: "web", Image: "example/web:1", Ports: []corev1.ContainerPort{{ContainerPort: port}}},
		address:   address, behaviour: b, pod: f.pod.Load, counter: f.counter,
		isTCP: func(corev1.ContainerPort) bool { return f.tcp.Load() },
		wake:  func() { f.woken <- struct{}{} },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.app.kill)
	return f
}

func (f *echoFixture) get(t *testing.T, client *http.Client, host string) (int, Answer) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+f.base+"/cart", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = host
	request.Header.Set("X-Ask", "yes")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer Answer
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, answer
}

func TestEchoAnswersWhoItIs(t *testing.T) {
	f := newEcho(t, behaviour{})
	code, answer := f.get(t, http.DefaultClient, "web.shop")
	if code != 200 || answer.Pod != "web-1" || answer.Namespace != "shop" || answer.Version != "" || answer.Image != "example/web:1" ||
		answer.Path != "/cart" || answer.Method != "GET" || answer.Host != "web.shop" || answer.Headers.Get("X-Ask") != "yes" {
		t.Errorf("code %d, answer %+v", code, answer)
	}
	labelled := f.pod.Load().DeepCopy()
	labelled.Labels["version"] = "v1"
	f.pod.Store(labelled)
	if _, answer := f.get(t, http.DefaultClient, "web.shop"); answer.Version != "v1" || answer.Labels["version"] != "v1" {
		t.Errorf("a label put on the live Pod does not show: %+v", answer)
	}
}

func TestEchoServesHTTP2WithoutTLS(t *testing.T) {
	f := newEcho(t, behaviour{})
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	if code, answer := f.get(t, &http.Client{Transport: transport}, "web.shop"); code != 200 || answer.Pod != "web-1" {
		t.Errorf("code %d, answer %+v", code, answer)
	}
}

func TestEchoCountsMirroredApart(t *testing.T) {
	f := newEcho(t, behaviour{})
	for _, host := range []string{"web.shop", "web.shop:80", "web.shop-shadow", "web.shop-shadow:80", "web.shop-shadow"} {
		f.get(t, http.DefaultClient, host)
	}
	counts := f.counter.snapshot()
	if counts.Requests != 2 || counts.Mirrored != 3 || counts.Codes[200] != 2 || counts.Namespace != "shop" {
		t.Errorf("counts %+v", counts)
	}
}

func TestEchoErrorRateAndLatency(t *testing.T) {
	f := newEcho(t, behaviour{errorRate: 1, latency: 30 * time.Millisecond})
	began := time.Now()
	code, answer := f.get(t, http.DefaultClient, "web.shop")
	if code != 500 || answer.Pod != "web-1" {
		t.Errorf("code %d, answer %+v; want 500 from the Pod", code, answer)
	}
	if took := time.Since(began); took < 30*time.Millisecond {
		t.Errorf("answered in %s, before its latency", took)
	}
	if counts := f.counter.snapshot(); counts.Codes[500] != 1 {
		t.Errorf("counts %+v", counts)
	}
}

func TestEchoReadyAfter(t *testing.T) {
	f := newEcho(t, behaviour{readyAfter: time.Minute})
	if ready, wait := f.app.ready(time.Now()); ready || wait <= 50*time.Second {
		t.Errorf("ready %v, wait %s right after the start", ready, wait)
	}
	if ready, wait := f.app.ready(time.Now().Add(time.Minute)); !ready || wait != 0 {
		t.Errorf("ready %v, wait %s after its time", ready, wait)
	}
}

func TestEchoCrashClosesThePort(t *testing.T) {
	f := newEcho(t, behaviour{crashAfter: 20 * time.Millisecond})
	<-f.woken
	if code, over := f.app.exited(); !over || code != 1 {
		t.Errorf("exited %v with %d; want true with 1", over, code)
	}
	if conn, err := net.Dial("tcp", f.base); err == nil {
		conn.Close()
		t.Error("a crashed container still listens")
	}
}

func TestEchoStopsGracefully(t *testing.T) {
	f := newEcho(t, behaviour{latency: 200 * time.Millisecond})
	type outcome struct {
		code int
		err  error
	}
	inFlight := make(chan outcome, 1)
	go func() {
		response, err := http.Get("http://" + f.base)
		if err != nil {
			inFlight <- outcome{0, err}
			return
		}
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		inFlight <- outcome{response.StatusCode, err}
	}()
	for f.counter.snapshot().Requests == 0 {
		time.Sleep(time.Millisecond)
	}
	f.app.stop(5 * time.Second)
	if got := <-inFlight; got.err != nil || got.code != 200 {
		t.Errorf("the request in flight ended with %+v", got)
	}
	<-f.woken
	if code, over := f.app.exited(); !over || code != 0 {
		t.Errorf("exited %v with %d; want true with 0", over, code)
	}
	if conn, err := net.Dial("tcp", f.base); err == nil {
		conn.Close()
		t.Error("a stopped container still listens")
	}
}

func TestEchoStopCutsWhatTakesTooLong(t *testing.T) {
	f := newEcho(t, behaviour{latency: time.Hour})
	go func() {
		if response, err := http.Get("http://" + f.base); err == nil {
			response.Body.Close()
		}
	}()
	for f.counter.snapshot().Requests == 0 {
		time.Sleep(time.Millisecond)
	}
	f.app.stop(20 * time.Millisecond)
	select {
	case <-f.woken:
	case <-time.After(5 * time.Second):
		t.Fatal("still serving 5 s after a stop within 20 ms")
	}
}

func TestEchoTCP(t *testing.T) {
	f := newEcho(t, behaviour{})
	f.get(t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, "web.shop")
	f.tcp.Store(true) // as when a Service with a TCP port appears
	labelled := f.pod.Load().DeepCopy()
	labelled.Labels["version"] = "v2"
	f.pod.Store(labelled)
	conn, err := net.Dial("tcp", f.base)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := bufio.NewReader(conn)
	greeting, err := lines.ReadString('\n')
	if pod, version, ok := ParseGreeting(greeting); err != nil || !ok || pod != "web-1" || version != "v2" {
		t.Errorf("greeting %q, error %v", greeting, err)
	}
	for _, line := range []string{"a\n", strings.Repeat("b", 100_000) + "\n"} {
		if _, err := io.WriteString(conn, line); err != nil {
			t.Fatal(err)
		}
		if echoed, err := lines.ReadString('\n'); err != nil || echoed != line {
			t.Errorf("sent %d bytes, got back %d, error %v", len(line), len(echoed), err)
		}
	}
	if _, err := io.WriteString(conn, "last\n"); err != nil {
		t.Fatal(err)
	}
	f.app.stop(5 * time.Second)
	if rest, err := io.ReadAll(lines); err != nil || string(rest) != "last\n" {
		t.Errorf("after the stop got %q, error %v; want what was sent before it", rest, err)
	}
	<-f.woken
	if counts := f.counter.snapshot(); counts.Connections != 1 || counts.Requests != 1 {
		t.Errorf("counts %+v", counts)
	}
}

func TestParseGreeting(t *testing.T) {
	for line, want := range map[string]bool{
		"web-1 v1\n": true, "web-1 \n": true, "web-1 v1": false, "web-1\n": false, "\n": false, "": false, " v1\n": false, "HTTP/1.1 400 Bad\n": false,
	} {
		if _, _, ok := ParseGreeting(line); ok != want {
			t.Errorf("%q: ok %v, want %v", line, ok, want)
		}
	}
}
