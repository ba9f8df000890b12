package pods

import (
	"encoding/json"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// Answer is the body of every HTTP answer of the echo app.
type Answer struct {
	Pod        string            `json:"pod"`
	Namespace  string            `json:"namespace"`
	Version    string            `json:"version"` // the Pod's label `version`, read at each request; empty without it
	Deployment string            `json:"deployment,omitempty"`
	Labels     map[string]string `json:"labels"`
	Image      string            `json:"image"`
	Method     string            `json:"method"`
	Host       string            `json:"host"`
	Path       string            `json:"path"`
	Headers    http.Header       `json:"headers"` // the request's
}

// newHTTPServer serves HTTP/1 and HTTP/2 without TLS. It sets no idle timeout: closing a connection that Envoy keeps
// for reuse would lose requests that no user of the lab asked to lose.
func newHTTPServer(handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Handler: handler, Protocols: protocols, ReadHeaderTimeout: time.Minute}
}

// ServeHTTP answers with who the Pod is and what it was asked.
func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mirrored := isMirrored(r.Host)
	e.counter.request(mirrored)
	if e.behaviour.latency > 0 {
		select {
		case <-time.After(e.behaviour.latency):
		case <-r.Context().Done():
			return
		}
	}
	code := http.StatusOK
	if e.behaviour.errorRate > 0 && rand.Float64() < e.behaviour.errorRate {
		code = http.StatusInternalServerError
	}
	if !mirrored {
		e.counter.answered(code)
	}
	if code == http.StatusOK && e.serveLong(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	// The only possible failure is a client that left: nobody is there to be told.
	_ = json.NewEncoder(w).Encode(e.answer(r))
}

func (e *echo) answer(r *http.Request) Answer {
	pod := e.pod()
	return Answer{
		Pod: pod.Name, Namespace: pod.Namespace, Version: pod.Labels["version"], Deployment: deploymentOf(pod),
		Labels: pod.Labels, Image: e.container.Image,
		Method: r.Method, Host: r.Host, Path: r.URL.Path, Headers: r.Header,
	}
}

// isMirrored says whether Envoy copied the request here: with istiod's DISABLE_SHADOW_HOST_SUFFIX=false it appends
// `-shadow` to the host, before the port.
func isMirrored(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.HasSuffix(host, "-shadow")
}
