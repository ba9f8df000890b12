package harness

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	networking "istio.io/api/networking/v1"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
)

// Write is one write to an object of a namespace, as etcd has it.
type Write struct {
	Kind, Name string // Kind as in etcd's key, "virtualservices" or "deployments"
	Revision   int64  // etcd's: one order for all objects
	At         time.Time
	Deleted    bool
	Weights    map[string]int32 // of a VirtualService's first HTTP route, by subset
	Subsets    []string         // of a DestinationRule
	Version    string           // of a pod, by its label
	Ready      bool             // of a pod, by its condition
}

// Breach is a period in which a VirtualService named a subset that the DestinationRule of the same name did not have.
type Breach struct {
	Subset       string
	Revision     int64 // of the write that began it
	Since, Until time.Time
	Open         bool // nothing has ended it yet
}

// History is every write to the objects of one namespace, except Events, in order. It reads etcd directly: a watch
// through the API server would break with it, and miss the writes in between.
type History struct {
	t         testing.TB
	namespace string

	mu       sync.Mutex
	ended    error
	revision int64 // of etcd's last message
	writes   []Write
	subsets  map[string][]string // of each DestinationRule
	routed   map[string][]string // subsets that each VirtualService names
	breaches []Breach
}

// Record follows a namespace from now until the test ends.
func Record(t testing.TB, namespace string) *History {
	t.Helper()
	h := &History{t: t, namespace: namespace, subsets: map[string][]string{}, routed: map[string][]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	stream, err := watchEtcd(ctx)
	if err != nil {
		cancel()
		t.Fatalf("the history of %s: %v", namespace, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.follow(stream)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		_ = stream.Close() // the test is over
	})
	return h
}

// everything is the range of keys under which Kubernetes keeps objects: to the next prefix of the same length.
const everything, pastEverything = "/registry/", "/registry0"

// watchEtcd asks etcd's JSON gateway (https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/).
func watchEtcd(ctx context.Context) (io.ReadCloser, error) {
	order, err := json.Marshal(map[string]any{"create_request": map[string]any{"key": []byte(everything), "range_end": []byte(pastEverything)}})
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, Lab().Etcd+"/v3/watch", bytes.NewReader(order))
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		return nil, errors.Join(fmt.Errorf("etcd's watch: %s", answer.Status), answer.Body.Close())
	}
	return answer.Body, nil
}

// message is a message of a watch from etcd's gateway, which writes 64-bit numbers as strings.
type message struct {
	Result struct {
		Header struct {
			Revision int64 `json:"revision,string"`
		} `json:"header"`
		Canceled bool `json:"canceled"`
		Events   []struct {
			Type string `json:"type"`
			KV   struct {
				Key      string `json:"key"`
				Value    string `json:"value"`
				Revision int64  `json:"mod_revision,string"`
			} `json:"kv"`
		} `json:"events"`
	} `json:"result"`
}

func (h *History) follow(stream io.Reader) {
	messages := json.NewDecoder(stream)
	for {
		var m message
		err := messages.Decode(&m)
		if err == nil && m.Result.Canceled {
			err = fmt.Errorf("etcd has ended the watch at revision %d", m.Result.Header.Revision)
		}
		h.mu.Lock()
		for _, e := range m.Result.Events {
			if err == nil {
				err = h.take(e.KV.Key, e.KV.Value, Write{Revision: e.KV.Revision, At: time.Now(), Deleted: e.Type == "DELETE"})
			}
		}
		h.revision, h.ended = m.Result.Header.Revision, err
		h.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take records a write if it belongs to the namespace.
func (h *History) take(key64, value64 string, w Write) error {
	key, err := base64.StdEncoding.DecodeString(key64)
	if err != nil {
		return err
	}
	// /registry/[<group>/]<kind>/<namespace>/<name>; Services are under services/specs.
	parts := strings.Split(strings.TrimPrefix(string(key), everything), "/")
	n := len(parts)
	if n < 3 || parts[n-2] != h.namespace || slices.Contains(parts, "events") {
		return nil
	}
	w.Kind, w.Name = parts[n-3], parts[n-1]
	value, err := base64.StdEncoding.DecodeString(value64)
	if err != nil {
		return err
	}
	switch {
	case w.Kind == "virtualservices" && w.Deleted:
		delete(h.routed, w.Name)
	case w.Kind == "destinationrules" && w.Deleted:
		delete(h.subsets, w.Name)
	case w.Kind == "virtualservices":
		err = h.takeRoutes(&w, value)
	case w.Kind == "destinationrules":
		err = h.takeSubsets(&w, value)
	case w.Kind == "pods" && !w.Deleted:
		err = takePod(&w, value)
	}
	h.writes = append(h.writes, w)
	h.judge(w)
	return err
}

// takeRoutes records subsets and weights. In etcd custom resources are JSON; Kubernetes' own objects are not.
func (h *History) takeRoutes(w *Write, value []byte) error {
	var vs networkingv1.VirtualService
	if err := json.Unmarshal(value, &vs); err != nil {
		return fmt.Errorf("VirtualService %s: %w", w.Name, err)
	}
	var named []string
	name := func(to *networking.Destination) { named = append(named, to.GetSubset()) }
	for _, r := range vs.Spec.Http {
		name(r.Mirror)
		for _, to := range r.Mirrors {
			name(to.Destination)
		}
		for _, to := range r.Route {
			name(to.Destination)
		}
	}
	for _, r := range vs.Spec.Tcp {
		for _, to := range r.Route {
			name(to.Destination)
		}
	}
	for _, r := range vs.Spec.Tls {
		for _, to := range r.Route {
			name(to.Destination)
		}
	}
	h.routed[w.Name] = named
	w.Weights = Weights(&vs)
	return nil
}

// Weights are those of the first HTTP route, by subset, as written: out of 100 or out of 10000. A single destination
// has 100.
func Weights(vs *networkingv1.VirtualService) map[string]int32 {
	if len(vs.Spec.Http) == 0 {
		return nil
	}
	shares := map[string]int32{}
	for _, to := range vs.Spec.Http[0].Route {
		shares[to.Destination.GetSubset()] = to.Weight
		if len(vs.Spec.Http[0].Route) == 1 {
			shares[to.Destination.GetSubset()] = 100
		}
	}
	return shares
}

func (h *History) takeSubsets(w *Write, value []byte) error {
	var dr networkingv1.DestinationRule
	if err := json.Unmarshal(value, &dr); err != nil {
		return fmt.Errorf("DestinationRule %s: %w", w.Name, err)
	}
	for _, s := range dr.Spec.Subsets {
		w.Subsets = append(w.Subsets, s.Name)
	}
	h.subsets[w.Name] = w.Subsets
	return nil
}

func takePod(w *Write, value []byte) error {
	var pod corev1.Pod
	if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(value, nil, &pod); err != nil {
		return fmt.Errorf("pod %s: %w", w.Name, err)
	}
	w.Version = pod.Labels["version"]
	w.Ready = slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	return nil
}

// judge checks the state after a write.
func (h *History) judge(w Write) {
	missing := ""
	for name, subsets := range h.routed {
		for _, subset := range subsets {
			if subset != "" && !slices.Contains(h.subsets[name], subset) {
				missing = subset
			}
		}
	}
	last := len(h.breaches) - 1
	open := last >= 0 && h.breaches[last].Open
	if missing == "" && open {
		h.breaches[last].Open, h.breaches[last].Until = false, w.At
	}
	if missing != "" && !open {
		h.breaches = append(h.breaches, Breach{Subset: missing, Revision: w.Revision, Since: w.At, Open: true})
	}
}

// Writes are the writes so far that wanted selects, oldest first; nil selects all.
func (h *History) Writes(wanted func(Write) bool) []Write {
	h.t.Helper()
	h.catchUp()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(h.writes), func(w Write) bool { return wanted != nil && !wanted(w) })
}

// Breaches are the periods so far in which a subset was named but missing.
func (h *History) Breaches() []Breach {
	h.t.Helper()
	h.catchUp()
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.breaches)
}

// catchUp waits until the history has all that etcd has now.
func (h *History) catchUp() {
	h.t.Helper()
	now, err := etcdRevision()
	if err != nil {
		h.t.Fatalf("etcd's revision: %v", err)
	}
	Eventually(h.t, fmt.Sprintf("the history of %s up to revision %d", h.namespace, now), func() error {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.ended != nil {
			return fmt.Errorf("it is not whole: %w", h.ended)
		}
		if h.revision < now {
			return fmt.Errorf("it is at revision %d", h.revision)
		}
		return nil
	})
}

// etcdRevision is the revision of the newest write to an existing object. etcd's own revision is higher after a
// deletion, or if Kubernetes has written its compaction key.
func etcdRevision() (int64, error) {
	order, err := json.Marshal(map[string]any{"key": []byte(everything), "range_end": []byte(pastEverything),
		"sort_target": "MOD", "sort_order": "DESCEND", "limit": 1, "keys_only": true})
	if err != nil {
		return 0, err
	}
	response, err := http.Post(Lab().Etcd+"/v3/kv/range", "application/json", bytes.NewReader(order))
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	var found struct {
		KVs []struct {
			Revision int64 `json:"mod_revision,string"`
		} `json:"kvs"`
	}
	if err := json.NewDecoder(response.Body).Decode(&found); err != nil || len(found.KVs) == 0 {
		return 0, fmt.Errorf("%s, %d keys: %w", response.Status, len(found.KVs), err)
	}
	return found.KVs[0].Revision, nil
}
