package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// lab is a running lab, as its lab.json describes it.
type lab struct {
	root, dir  string
	Kubeconfig string `json:"kubeconfig"`
	MeshProxy  string `json:"meshProxy"`
	MeshHost   string `json:"meshHost"`
	// MeshLowPorts is added on MeshHost to ports under 1024.
	MeshLowPorts int    `json:"meshLowPorts"`
	Gateway      string `json:"gateway"`
	EnvoyAdmin   string `json:"envoyAdmin"`
	Pods         string `json:"pods"`
	client       *http.Client
}

// up starts a lab with grayscale installed. The user sees the lab's output as progress.
func up(ctx context.Context, root, dir string, port int) (*lab, error) {
	l := &lab{root: root, dir: dir}
	_ = l.down() // an interrupted demo may have left one
	cmd := exec.CommandContext(ctx, l.bin("lab"), "up", "--detach", "--dir", dir, "--base-port", strconv.Itoa(port),
		"--istio-debounce", "100ms", "--grayscale", l.bin("grayscale"), "--manifests", filepath.Join(root, "manifests", "base"))
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, errors.Join(fmt.Errorf("the lab did not come up: %w", err), l.down())
	}
	raw, err := os.ReadFile(filepath.Join(dir, "lab.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(raw, l); err != nil {
		return nil, fmt.Errorf("lab.json: %w", err)
	}
	l.client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DialContext: l.dial, MaxIdleConnsPerHost: 16}}
	return l, nil
}

// dial opens a connection to the sidecar's listener for the Service's port, like an application whose traffic the
// sidecar captures.
func (l *lab) dial(ctx context.Context, network, service string) (net.Conn, error) {
	_, text, err := net.SplitHostPort(service)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	if port < 1024 {
		port += l.MeshLowPorts
	}
	return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, network, net.JoinHostPort(l.MeshHost, strconv.Itoa(port)))
}

func (l *lab) bin(name string) string { return filepath.Join(l.root, "bin", name) }

func (l *lab) down() error {
	if _, err := os.Stat(filepath.Join(l.dir, "lab.json")); err != nil {
		return nil // nothing was started
	}
	out, err := exec.Command(l.bin("lab"), "down", "--dir", l.dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("lab down: %w: %s", err, out)
	}
	return nil
}

// kubectl prints the command as a user would type it, runs it and returns its output.
func (l *lab) kubectl(ctx context.Context, args ...string) (string, error) {
	fmt.Println("  $ kubectl", strings.Join(args, " "))
	path, err := filepath.Abs(l.bin("kubectl")) // a relative path would start at cmd.Dir
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{"--kubeconfig", l.Kubeconfig}, args...)...)
	cmd.Dir = l.root
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must is kubectl for commands that have to succeed.
func (l *lab) must(ctx context.Context, args ...string) error {
	out, err := l.kubectl(ctx, args...)
	if err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// programmed waits until the Deployment's condition says exactly what the contract promises.
func (l *lab) programmed(ctx context.Context, deployment, message string) error {
	return l.must(ctx, "wait", "--timeout=60s", "deploy/"+deployment,
		`--for=jsonpath={.status.conditions[?(@.type=="grayscale.dev/Programmed")].message}=`+message)
}

// background is load that runs until end is called.
type background struct {
	cmd *exec.Cmd
	out bytes.Buffer
}

// load sends requests at a steady rate, whatever the answers (an open loop), until end is called.
func (l *lab) load(url string, rate int) (*background, error) {
	b := &background{cmd: exec.Command(l.bin("lab"), "load", "--dir", l.dir, "--url", url, "--rps", strconv.Itoa(rate), "--for", "30m", "-o", "json")}
	b.cmd.Stdout = &b.out
	return b, b.cmd.Start()
}

// report is what `lab load -o json` prints, as far as the demo reads it.
type report struct {
	Sent     int            `json:"sent"`
	Lost     int            `json:"lost"`
	Versions map[string]int `json:"versions"`
	Mirrored map[string]int `json:"mirrored"`
}

func (b *background) end() (report, error) {
	var r report
	if err := b.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return r, fmt.Errorf("load ended early: %w", errors.Join(err, b.cmd.Wait()))
	}
	wait := b.cmd.Wait() // non-zero if requests were lost: the report says how many
	if err := json.Unmarshal(b.out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("report of the load: %w (%v)", err, wait)
	}
	return r, nil
}

// httpSplit sends n requests and counts which version answers.
func (l *lab) httpSplit(ctx context.Context, host string, n int) (map[string]int, error) {
	seen := map[string]int{}
	for range n {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/", nil)
		if err != nil {
			return nil, err
		}
		version, err := l.ask(req)
		if err != nil {
			return nil, err
		}
		seen[version]++
	}
	return seen, nil
}

func (l *lab) ask(req *http.Request) (string, error) {
	resp, err := l.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var answer struct {
		Labels map[string]string `json:"labels"`
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode == http.StatusOK {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s: HTTP %d: %q (%v)", req.URL, resp.StatusCode, body, err)
	}
	return versionName(answer.Labels["version"]), nil
}

func versionName(label string) string {
	if label == "" {
		return "unlabelled"
	}
	return label
}

// tcpSplit opens n connections and counts which version greets.
func (l *lab) tcpSplit(ctx context.Context, port, n int) (map[string]int, error) {
	seen := map[string]int{}
	for range n {
		conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(l.MeshHost, strconv.Itoa(port)))
		if err != nil {
			return nil, err
		}
		line := make([]byte, 512)
		size, err := conn.Read(line)
		conn.Close()
		if err != nil {
			return nil, fmt.Errorf("TCP port %d: no greeting: %w", port, err)
		}
		words := strings.Fields(string(line[:size]))
		seen[words[len(words)-1]]++
	}
	return seen, nil
}

// counts are the requests and the mirrored copies that each version's pods have seen.
func (l *lab) counts(ctx context.Context, app string) (requests, mirrored map[string]int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.Pods+"/counts", nil)
	if err != nil {
		return nil, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	var all struct {
		Pods []struct {
			Labels             map[string]string `json:"labels"`
			Requests, Mirrored int
		} `json:"pods"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		return nil, nil, fmt.Errorf("counts of the lab's pods: %w", err)
	}
	requests, mirrored = map[string]int{}, map[string]int{}
	for _, p := range all.Pods {
		if p.Labels["app"] == app {
			requests[versionName(p.Labels["version"])] += p.Requests
			mirrored[versionName(p.Labels["version"])] += p.Mirrored
		}
	}
	return requests, mirrored, nil
}

func (l *lab) howToPlay() {
	fmt.Printf(`
The lab is running. Play with it:
  export KUBECONFIG=%s
  bin/kubectl get deploy,virtualservice,destinationrule
  bin/kubectl annotate --overwrite deploy/stock-v2 grayscale.dev/weight=75
  curl -x %s http://catalog.default.svc.cluster.local/
  nc %s 7000
  bin/lab load --dir %s --url http://web.default.svc.cluster.local/ --rps 100 --for 10s
Take it down:
  bin/lab down --dir %s
`, l.Kubeconfig, l.MeshProxy, l.MeshHost, l.dir, l.dir)
}
