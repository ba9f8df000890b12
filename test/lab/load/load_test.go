package load

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"grayscale.dev/grayscale/test/lab/cluster"
	"grayscale.dev/grayscale/test/lab/pods"
)

// startLab stands in for a lab: an HTTP way in that serves handler, and a counters API.
func startLab(t *testing.T, handler http.HandlerFunc, counts func() pods.Counts) finder {
	t.Helper()
	way := httptest.NewServer(handler)
	t.Cleanup(way.Close)
	counters := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := json.NewEncoder(w).Encode(counts()); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(counters.Close)
	mesh := way.Listener.Addr().(*net.TCPAddr)
	return func(string) (cluster.State, error) {
		return cluster.State{MeshProxy: way.URL, MeshHost: "127.0.0.1", MeshLowPorts: mesh.Port - 80, Gateway: way.URL, Pods: counters.URL}, nil
	}
}

func noCounts() pods.Counts { return pods.Counts{} }

// load runs `lab load -o json` with the arguments.
func load(t *testing.T, find finder, arguments ...string) (Report, string, error) {
	t.Helper()
	cmd := command(find)
	var out, progress bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&progress)
	cmd.SilenceErrors = true
	cmd.SetArgs(append([]string{"--dir", "anywhere", "-o", "json"}, arguments...))
	failure := cmd.ExecuteContext(t.Context())
	var report Report
	if text := out.String(); strings.HasPrefix(text, "{") {
		if err := json.Unmarshal(out.Bytes(), &report); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
	return report, out.String(), failure
}

func answerAs(w http.ResponseWriter, code int, version string) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(pods.Answer{Pod: "pod-of-" + version, Version: version})
}

func TestLoadCountsVersionsAndMirrored(t *testing.T) {
	var n, copies atomic.Int64
	lab := startLab(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "web.shop.svc.cluster.local" || r.URL.Host != "" || r.Header.Get("X-User") != "a:b" {
			http.Error(w, "not what was asked: "+r.URL.String(), http.StatusBadGateway)
			return
		}
		if n.Add(1)%4 == 0 {
			copies.Add(1)
			answerAs(w, 200, "")
			return
		}
		answerAs(w, 200, "v1")
	}, func() pods.Counts {
		return pods.Counts{Pods: []pods.PodCounts{
			{Namespace: "shop", Pod: "a", Version: "v2", Mirrored: 100 + copies.Load()},
			{Namespace: "shop", Pod: "b", Version: "v2", Mirrored: copies.Load()},
			{Namespace: "shop", Pod: "c", Version: "v1"},
			{Namespace: "other", Pod: "a", Version: "v2", Mirrored: copies.Load()},
		}}
	})
	report, text, err := load(t, lab, "--url", "http://web.shop.svc.cluster.local/", "--rps", "100", "--for", "400ms", "-H", "X-User: a:b")
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	sent := int(n.Load())
	if report.Sent != sent || sent < 30 || sent > 50 || report.Lost != 0 || report.Codes["200"] != sent || len(report.Errors) != 0 {
		t.Errorf("%d requests came; report %s", sent, text)
	}
	if report.Versions["v1"] != sent-sent/4 || report.Versions["unlabelled"] != sent/4 || len(report.Versions) != 2 {
		t.Errorf("versions %v of %d", report.Versions, sent)
	}
	if len(report.Mirrored) != 1 || report.Mirrored["v2"] != 2*copies.Load() {
		t.Errorf("mirrored %v; %d copies each in two Pods of the namespace", report.Mirrored, copies.Load())
	}
	for _, key := range []string{`"sent":`, `"lost":0`, `"versions":{`, `"mirrored":{`, `"codes":{`, `"errors":[]`, `"latency":{"p50_ms":`} {
		if !strings.Contains(text, key) {
			t.Errorf("the report has no %s: %s", key, text)
		}
	}
}

func TestLoadFailsOnLostRequests(t *testing.T) {
	var n atomic.Int64
	lab := startLab(t, func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) % 4 {
		case 0:
			http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
		case 1:
			answerAs(w, 500, "v2")
		case 2:
			answerAs(w, 404, "v1") // an app's own answer
		case 3:
			http.Error(w, "no route", http.StatusNotFound) // an Envoy's
		}
	}, noCounts)
	report, text, err := load(t, lab, "--url", "http://web/", "--rps", "100", "--for", "400ms")
	if err == nil || !strings.Contains(err.Error(), "were lost") {
		t.Errorf("error %v", err)
	}
	if answered := report.Codes["404"]/2 + report.Codes["500"]; report.Lost < 20 || report.Lost+report.Versions["v1"] != report.Sent ||
		answered < report.Versions["v1"]+report.Versions["v2"]-2 || len(report.Errors) != 3 {
		t.Errorf("report %s", text)
	}
	if all := strings.Join(report.Errors, "\n"); !strings.Contains(all, "503, not from a Pod: \"no healthy upstream\"") ||
		!strings.Contains(all, "500 from version v2") || !strings.Contains(all, "404, not from a Pod: \"no route\"") {
		t.Errorf("errors %q", report.Errors)
	}
}

func TestLoadNeverSendsTwice(t *testing.T) {
	var arrived, cut atomic.Int64
	lab := startLab(t, func(w http.ResponseWriter, r *http.Request) {
		if arrived.Add(1)%2 == 0 { // on a connection that has served before: Go's transport would send again
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			cut.Add(1)
			conn.Close()
			return
		}
		answerAs(w, 200, "v1")
	}, noCounts)
	report, text, err := load(t, lab, "--url", "http://web/", "--rps", "50", "--for", "400ms")
	if err == nil || int64(report.Sent) != arrived.Load() || int64(report.Lost) != cut.Load() || cut.Load() == 0 {
		t.Errorf("%d arrived, %d cut, report %s, error %v", arrived.Load(), cut.Load(), text, err)
	}
}

func TestLoadThroughTheProxy(t *testing.T) {
	lab := startLab(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "web.shop.svc.cluster.local:9080" || r.URL.Host != r.Host {
			t.Errorf("a proxy got host %q, URL %q", r.Host, r.URL)
		}
		answerAs(w, 200, "v1")
	}, noCounts)
	report, text, err := load(t, lab, "--url", "http://web.shop.svc.cluster.local:9080/", "--rps", "50", "--for", "200ms", "--via", "proxy")
	if err != nil || report.Versions["v1"] != report.Sent || report.Sent == 0 {
		t.Errorf("report %s, error %v", text, err)
	}
}

// A stream that breaks is lost and stays closed; the others go on.
func TestLoadOverStreams(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var opened, echoed atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func(n int64) {
				defer conn.Close()
				_, _ = io.WriteString(conn, "store-1 v1\n")
				lines := bufio.NewReader(conn)
				for i := 0; n > 1 || i < 2; i++ {
					line, err := lines.ReadString('\n')
					if err != nil {
						return
					}
					echoed.Add(1)
					_, _ = io.WriteString(conn, line)
				}
			}(opened.Add(1))
		}
	}()
	lab := startLab(t, func(http.ResponseWriter, *http.Request) {}, noCounts)
	url := fmt.Sprintf("tcp://store.shop.svc.cluster.local:%d", l.Addr().(*net.TCPAddr).Port)
	report, text, err := load(t, lab, "--url", url, "--rps", "60", "--for", "500ms", "--streams", "3")
	if err == nil || opened.Load() != 3 || report.Lost != 1 || report.Sent < 15 || report.Sent > int(echoed.Load())+1 {
		t.Errorf("%d opened, %d lines echoed, error %v, report %s", opened.Load(), echoed.Load(), err, text)
	}
}

func TestLoadThroughTheGateway(t *testing.T) {
	lab := startLab(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "shop.example.com" || r.URL.Host != "" {
			t.Errorf("a gateway got host %q, URL %q", r.Host, r.URL)
		}
		answerAs(w, 200, "v1")
	}, noCounts)
	report, text, err := load(t, lab, "--url", "http://shop.example.com/", "--rps", "50", "--for", "200ms", "--via", "gateway")
	if err != nil || report.Versions["v1"] != report.Sent || report.Sent == 0 {
		t.Errorf("report %s, error %v", text, err)
	}
}

func TestLoadTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var n atomic.Int64
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serveTCP(conn, n.Add(1))
		}
	}()
	lab := startLab(t, func(http.ResponseWriter, *http.Request) {}, noCounts)
	url := fmt.Sprintf("tcp://store.shop.svc.cluster.local:%d", l.Addr().(*net.TCPAddr).Port)
	report, text, err := load(t, lab, "--url", url, "--rps", "100", "--for", "400ms")
	if err == nil {
		t.Error("connections were lost, without an error")
	}
	sent := int(n.Load())
	if report.Sent != sent || sent < 30 || report.Versions["v2"] != (sent+2)/3+(sent+1)/3 || report.Lost != sent/3+(sent+1)/3 {
		t.Errorf("%d connections came; report %s", sent, text)
	}
}

// serveTCP serves one connection well, the next without an echo, and the next not at all.
func serveTCP(conn net.Conn, n int64) {
	defer conn.Close()
	if n%3 == 0 {
		return
	}
	_, _ = io.WriteString(conn, "store-1 v2\n")
	line, _ := bufio.NewReader(conn).ReadString('\n')
	if n%3 == 1 {
		_, _ = io.WriteString(conn, line)
	}
}

func TestLoadEndsEarlyWithAReport(t *testing.T) {
	lab := startLab(t, func(w http.ResponseWriter, _ *http.Request) { answerAs(w, 200, "v1") }, noCounts)
	p, err := options{find: lab, url: "http://web/", rps: 50, during: time.Hour, via: "mesh", output: "text", method: "GET"}.plan()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	report, err := p.run(ctx, io.Discard)
	if err != nil || report.Sent < 5 || report.Lost != 0 || report.Versions["v1"] != report.Sent {
		t.Errorf("report %+v, error %v", report, err)
	}
	var text bytes.Buffer
	if err := report.write(&text); err != nil || !strings.Contains(text.String(), "version v1") || !strings.Contains(text.String(), "100.0%") {
		t.Errorf("error %v, text %s", err, text.String())
	}
}

func TestLoadRefusesWrongFlags(t *testing.T) {
	lab := startLab(t, func(http.ResponseWriter, *http.Request) {}, noCounts)
	for _, c := range [][]string{
		{"--url", "web"}, {"--url", "https://web/"}, {"--url", "tcp://web"}, {"--url", "tcp://web:1", "--via", "gateway"},
		{"--url", "http://web/", "--via", "air"}, {"--url", "http://web/", "--rps", "0"}, {"--url", "http://web/", "--for", "0s"},
		{"--url", "http://web/", "-H", "novalue"}, {"--url", "grpc://web"}, {"--url", "grpc://web:1", "--via", "proxy"},
		{"--url", "ws://web/"}, {"--url", "http://web/", "--streams", "-1"},
	} {
		if _, text, err := load(t, lab, c...); err == nil || strings.Contains(text, "{") {
			t.Errorf("%v: error %v, output %s", c, err, text)
		}
	}
}

func TestLoadWithoutALab(t *testing.T) {
	dir := t.TempDir()
	if _, text, err := load(t, cluster.ReadState, "--dir", dir, "--url", "http://web/"); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("error %v, output %s; want one that names %s", err, text, dir)
	}
}
