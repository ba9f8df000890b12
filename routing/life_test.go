package routing_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
	"grayscale.dev/grayscale/test/yardstick"
)

// TestLife simulates users and pods that do anything in any order, and checks after every write that no traffic could
// be lost: routes refer only to subsets that have settled, subsets go only long enough after the last route to them,
// weights add up, and in the end nothing is left to do.
func TestLife(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"annotate": w.annotate, "ready": w.ready, "scale": w.scale, "add": w.add, "delete": w.delete,
			"time": w.time, "unroute": w.unroute, "": w.check,
		})
		w.quiesce(rt)
	})
}

// world is one Service and its Deployments, with the history that the oracles need.
type world struct {
	facts    routing.Facts
	settings routing.Settings
	added    map[string]time.Time // subset -> when the DestinationRule got it
	left     map[string]time.Time // subset -> when the last route to it went
	serial   int
}

func newWorld(rt *rapid.T) *world {
	w := &world{settings: routing.Settings{Settle: 2 * time.Second, ClusterDomain: "cluster.local", RootNamespace: "istio-system"},
		added: map[string]time.Time{}, left: map[string]time.Time{}}
	w.facts.Now, w.facts.Mesh = begin, &istio.Mesh{}
	w.facts.Service = release.Service{Namespace: "shop", Name: "reviews", UID: "0a", Selector: map[string]string{"app": "reviews"},
		Ports: []release.Port{{Name: "http", Number: 80}, {Name: "tcp-x", Number: 9000}}}
	w.facts.Deployments = []release.Deployment{w.newDeployment(nil, false)}
	deployment(&w.facts, "reviews-v1").Pods = []release.Pods{{Ready: 2, Total: 2}}
	w.settle(rt)
	return w
}

func (w *world) newDeployment(annotations map[string]string, held bool) release.Deployment {
	w.serial++
	labels := map[string]string{"app": "reviews"}
	version := fmt.Sprintf("v%d", w.serial)
	if held {
		annotations[intent.KeyHeld] = "true"
	}
	if annotations != nil {
		labels[release.VersionLabel] = version
	}
	return release.Deployment{Name: "reviews-" + version, UID: version, CreatedAt: w.facts.Now.Add(time.Duration(w.serial)),
		Annotations: annotations, TemplateLabels: labels, Replicas: 2, SpecPaused: held}
}

func (w *world) pick(rt *rapid.T) *release.Deployment {
	if len(w.facts.Deployments) == 0 {
		rt.Skip("no Deployment is left") // rapid's Skip: another action is drawn
	}
	i := rapid.IntRange(0, len(w.facts.Deployments)-1).Draw(rt, "deployment")
	return &w.facts.Deployments[i]
}

func (w *world) annotate(rt *rapid.T) {
	d := w.pick(rt)
	key := rapid.SampledFrom([]string{intent.KeyStrategy, intent.KeyWeight, intent.KeyActive, intent.KeyMirrorPercent, intent.KeyPaused}).Draw(rt, "key")
	values := map[string][]string{intent.KeyStrategy: {"canary", "blue-green", "mirror", "blue", ""}, intent.KeyWeight: {"0", "10", "33.3", "100", "150", ""},
		intent.KeyActive: {"true", "false", ""}, intent.KeyMirrorPercent: {"0", "25", "100", ""}, intent.KeyPaused: {"true", ""}}
	value := rapid.SampledFrom(values[key]).Draw(rt, "value")
	if value == "" {
		annotate(d, key, nil, "")
	} else {
		annotate(d, key, &value, "user")
	}
	w.settle(rt)
}

func (w *world) ready(rt *rapid.T) {
	d := w.pick(rt)
	total := int(d.Replicas)
	if d.IsHeld() {
		total = 0
	}
	n, version, since := rapid.IntRange(0, total).Draw(rt, "ready"), d.TemplateLabels[release.VersionLabel], w.facts.Now
	for _, p := range d.Pods {
		if p.Version == version && p.Ready > 0 {
			since = p.Since
		}
	}
	d.Pods = []release.Pods{{Version: version, Ready: n, Total: total, Since: since}}
	w.settle(rt)
}

func (w *world) scale(rt *rapid.T) {
	w.pick(rt).Replicas = int32(rapid.SampledFrom([]int{0, 1, 3}).Draw(rt, "replicas"))
	w.settle(rt)
}

func (w *world) add(rt *rapid.T) {
	if len(w.facts.Deployments) > 4 {
		rt.Skip("enough Deployments")
	}
	held := rapid.Bool().Draw(rt, "held")
	strategy := rapid.SampledFrom([]string{"canary", "blue-green", "mirror"}).Draw(rt, "strategy")
	w.facts.Deployments = append(w.facts.Deployments, w.newDeployment(map[string]string{intent.KeyStrategy: strategy}, held))
	w.settle(rt)
}

func (w *world) delete(rt *rapid.T) {
	name := w.pick(rt).Name
	w.facts.Deployments = slices.DeleteFunc(w.facts.Deployments, func(d release.Deployment) bool { return d.Name == name })
	w.settle(rt)
}

func (w *world) time(rt *rapid.T) {
	w.facts.Now = w.facts.Now.Add(time.Duration(rapid.IntRange(100, 3000).Draw(rt, "ms")) * time.Millisecond)
	w.settle(rt)
}

func (w *world) unroute(rt *rapid.T) {
	w.leave(nil)
	is(&w.facts).VirtualService = nil
	w.settle(rt)
}

// settle decides until nothing is left to do now, watching every write.
func (w *world) settle(rt *rapid.T) {
	for range 2 * mostDecisions {
		d := decide(w.facts, w.settings)
		if idle(d) {
			return
		}
		if d.ApplyDestinationRule != nil {
			w.ruleWritten(rt, istio.Subsets(d.ApplyDestinationRule))
		}
		if d.DeleteDestinationRule {
			w.ruleWritten(rt, nil)
		}
		if d.ApplyVirtualService != nil {
			w.routesWritten(rt, istio.ReferencedSubsets(d.ApplyVirtualService))
		}
		if d.DeleteVirtualService {
			w.leave(nil)
		}
		obey(&w.facts, d)
	}
	rt.Fatalf("still something to do: %+v", decide(w.facts, w.settings))
}

func (w *world) ruleWritten(rt *rapid.T, subsets []string) {
	routed := w.routed()
	for s := range w.added {
		if slices.Contains(subsets, s) {
			continue
		}
		if slices.Contains(routed, s) {
			rt.Fatalf("subset %s is removed while routes refer to it", s)
		}
		if gone, ok := w.left[s]; ok && w.facts.Now.Before(gone.Add(w.settings.Settle)) {
			rt.Fatalf("subset %s is removed %s after routes left it", s, w.facts.Now.Sub(gone))
		}
		delete(w.added, s)
	}
	for _, s := range subsets {
		if _, ok := w.added[s]; !ok {
			w.added[s] = w.facts.Now
		}
	}
}

func (w *world) routesWritten(rt *rapid.T, subsets []string) {
	routed := w.routed()
	for _, s := range subsets {
		if at, ok := w.added[s]; !ok || !slices.Contains(routed, s) && w.facts.Now.Before(at.Add(w.settings.Settle)) {
			rt.Fatalf("routes refer to subset %s, which has not settled", s)
		}
		if !slices.Contains(routed, s) && w.facts.Now.Before(w.readySince(s).Add(w.settings.Settle)) {
			rt.Fatalf("routes refer to subset %s, whose endpoints have not settled", s)
		}
	}
	w.leave(subsets)
}

func (w *world) readySince(subset string) time.Time {
	for _, d := range w.facts.Deployments {
		for _, p := range d.Pods {
			if istio.SubsetName(p.Version) == subset && p.Ready > 0 {
				return p.Since
			}
		}
	}
	return time.Time{}
}

func (w *world) routed() []string {
	if is(&w.facts).VirtualService == nil {
		return nil
	}
	return istio.ReferencedSubsets(is(&w.facts).VirtualService)
}

func (w *world) leave(kept []string) {
	for _, s := range w.routed() {
		if !slices.Contains(kept, s) {
			w.left[s] = w.facts.Now
		}
	}
}

// check runs after every action.
func (w *world) check(rt *rapid.T) {
	vs := is(&w.facts).VirtualService
	if vs == nil {
		return
	}
	st, ok := mesh.ReadState(vs)
	if !ok {
		rt.Fatalf("state cannot be read")
	}
	var sum intent.Percent
	for _, x := range st.Traffic.Weights {
		sum += x.Share
	}
	if sum != intent.Hundred {
		rt.Fatalf("weights add up to %s: %+v", sum, st.Traffic)
	}
}

// quiesce: after enough time, there is nothing to do and nothing to wait for.
func (w *world) quiesce(rt *rapid.T) {
	for range mostDecisions {
		w.facts.Now = w.facts.Now.Add(w.settings.Settle)
		w.settle(rt)
	}
	if d := decide(w.facts, w.settings); d.After != 0 {
		rt.Fatalf("still waiting for %s", d.After)
	}
	for _, d := range w.facts.Deployments {
		if d.IsHeld() && !d.IsCandidate() {
			rt.Fatalf("%s is left paused", d.Name)
		}
	}
}

func BenchmarkDecide(b *testing.B) {
	w := &world{settings: routing.Settings{Settle: 2 * time.Second, ClusterDomain: "cluster.local", RootNamespace: "istio-system"}}
	w.facts.Now, w.facts.Mesh = begin, &istio.Mesh{}
	w.facts.Service = release.Service{Namespace: "shop", Name: "reviews", UID: "0a", Selector: map[string]string{"app": "reviews"}, Ports: []release.Port{{Name: "http", Number: 80}}}
	stable, candidate := w.newDeployment(nil, false), w.newDeployment(map[string]string{intent.KeyStrategy: "canary", intent.KeyWeight: "10"}, false)
	stable.Pods = []release.Pods{{Ready: 2, Total: 2}}
	candidate.Pods = []release.Pods{{Version: "v2", Ready: 2, Total: 2}}
	w.facts.Deployments = []release.Deployment{stable, candidate}
	for range mostDecisions {
		obey(&w.facts, decide(w.facts, w.settings))
		w.facts.Now = w.facts.Now.Add(w.settings.Settle)
	}
	decide := func() {
		p := routing.MakePlan(w.facts, w.settings)
		p.MakeReport()
	}
	b.Run("nothing to do", func(b *testing.B) { yardstick.Compare(b, decide) })
	weight := "50"
	annotate(&w.facts.Deployments[1], intent.KeyWeight, &weight, "user")
	b.Run("weight changed", func(b *testing.B) { yardstick.Compare(b, decide) })
}
