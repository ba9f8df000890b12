package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// users write manifests, annotate, scale and delete; some of them are GitOps.
type users struct {
	w         *world
	manifests map[string]manifest // what each Deployment was applied from
}

// manifest is a Deployment as its owner keeps it in a file.
type manifest struct {
	annotations map[string]string
	template    template
	replicas    int32
	unpaused    bool // it says "paused: false"
}

const (
	kubectl = "kubectl-annotate"
	gitops  = "argocd"
)

func nameOf(n int) string { return fmt.Sprintf("%s-v%d", service, n) }

// bystanders are what is there before anything happens: the Service with its first Deployment, and others that nobody
// may touch.
func (u *users) bystanders() {
	w := u.w
	if len(w.services) > 1 {
		_ = w.api.create(kubectl, &kubeService{identity: identity{kind: services, name: second}, app: app})
	}
	for _, x := range []struct{ service, app string }{{service, app}, {"ratings", "ratings"}} {
		_ = w.api.create(kubectl, &kubeService{identity: identity{kind: services, name: x.service}, app: x.app})
		d := &deployment{identity: identity{kind: deployments, name: x.service + "-v1"}, app: x.app,
			template: template{image: "a"}, replicas: 2, generation: 1}
		if w.chance(2) {
			d.template.version = "v1"
		}
		_ = w.api.create(kubectl, d)
		u.manifests[d.name] = manifest{template: d.template, replicas: 2}
		s := &replicaSet{identity: identity{kind: replicaSets, name: d.name + "-a-" + d.template.version}, owner: d.uid,
			deployment: d.name, app: x.app, template: d.template, replicas: 2, generation: 1, observed: 1}
		_ = w.api.create(kubernetes, s)
		for range 2 {
			w.kubelet.serial++
			id := identity{kind: pods, name: fmt.Sprintf("%s-%d", d.name, w.kubelet.serial)}
			_ = w.api.create(kubernetes, &pod{identity: id,
				owner: s.uid, set: s.name, deployment: d.name, app: x.app, label: d.template.version, ready: true})
		}
	}
}

func (u *users) find(n int) *deployment {
	d, _ := get[*deployment](u.w.api.list(deployments), nameOf(n))
	if d == nil || d.deleting {
		return nil
	}
	return d
}

// create applies a new candidate's manifest.
func (u *users) create(a Act) {
	name := nameOf(a.N)
	if find(u.w.api.list(deployments), name) != nil {
		return
	}
	m := manifest{annotations: map[string]string{intent.KeyStrategy: a.Value}, template: template{image: "a"}, replicas: 2,
		unpaused: strings.Contains(a.Key, "paused:false")}
	if strings.HasPrefix(a.Key, "labelled") {
		m.template.version = "v" + strconv.Itoa(a.N)
	}
	if u.w.chance(2) {
		m.annotations[intent.KeyWeight], m.annotations[intent.KeyActive] = "10", "true"
	}
	if a.Service != "" {
		m.annotations[intent.KeyService] = a.Service
	}
	u.manifests[name] = m
	d := &deployment{identity: identity{kind: deployments, name: name}, app: app,
		template: m.template, replicas: m.replicas, generation: 1}
	for k, v := range m.annotations {
		d.annotate(k, &v, gitops)
	}
	d.generation = 1
	if u.w.door(d, nil) && u.w.api.create(gitops, d) == nil {
		u.w.judge.created(d)
		u.w.note("%s creates %s %v: paused=%v version=%q", gitops, name, m.annotations, d.paused, d.template.version)
	}
}

// change makes one user's write of a Deployment, through the door.
func (u *users) change(n int, by string, change func(*deployment)) {
	d := u.find(n)
	if d == nil {
		return
	}
	next := d.copy()
	change(next)
	if next.template != d.template || next.replicas != d.replicas {
		next.generation++
	}
	if next.template != d.template {
		next.templateBy = by
	}
	next.relabelled = next.relabelled || next.template.version != d.template.version
	next.relabelled = next.relabelled || d.beingAdopted() && !next.paused // it takes the adoption's pause away
	if maps.Equal(next.annotations, d.annotations) && next.generation == d.generation {
		return // the API server stores nothing
	}
	if u.w.door(next, d) && u.w.api.update(by, next, d.version) == nil && d.held() && !next.held() {
		u.w.judge.unheld(next)
	}
}

func (u *users) annotate(a Act) {
	u.change(a.N, kubectl, func(d *deployment) { d.annotate(a.Key, text(a.Value), kubectl) })
}

func text(value string) *string {
	if value == "" {
		return nil
	}
	return &value
}

// git changes the manifest of a Deployment and applies it.
func (u *users) git(a Act) {
	m, ok := u.manifests[nameOf(a.N)]
	if !ok {
		return
	}
	m.annotations = maps.Clone(m.annotations)
	if m.annotations == nil {
		m.annotations = map[string]string{}
	}
	_, had := m.annotations[a.Key]
	if delete(m.annotations, a.Key); a.Value != "" {
		m.annotations[a.Key] = a.Value
	}
	u.manifests[nameOf(a.N)] = m
	u.change(a.N, gitops, func(d *deployment) {
		if had && a.Value == "" {
			d.annotate(a.Key, nil, gitops)
		}
		m.applyTo(d)
	})
}

func (u *users) apply(a Act) {
	if m, ok := u.manifests[nameOf(a.N)]; ok {
		u.change(a.N, gitops, m.applyTo)
	}
}

// applyTo is an apply, of either side: it sets what the manifest names and leaves the rest.
func (m manifest) applyTo(d *deployment) {
	for _, k := range sortedKeys(m.annotations) {
		v := m.annotations[k]
		d.annotate(k, &v, gitops)
	}
	d.template.image, d.replicas = m.template.image, m.replicas
	if m.template.version != "" {
		d.template.version = m.template.version
	}
	if m.unpaused {
		d.pause(false)
	}
}

// replace is a PUT: nothing stays but what the manifest names.
func (u *users) replace(a Act) {
	m, ok := u.manifests[nameOf(a.N)]
	if !ok {
		return
	}
	u.change(a.N, gitops, func(d *deployment) {
		for _, k := range sortedKeys(d.annotations) {
			if _, named := m.annotations[k]; !named {
				d.annotate(k, nil, gitops)
			}
		}
		d.pause(false)
		m.applyTo(d)
		d.template.version = m.template.version
	})
}

func (u *users) scale(a Act) {
	n, _ := strconv.Atoi(a.Value)
	d := u.find(a.N)
	if d == nil {
		return
	}
	// kubectl scale and autoscalers write the subresource: the door is asked about zero alone.
	write := func() {
		if d := u.find(a.N); d != nil {
			next := d.copy()
			next.replicas = int32(n)
			next.generation++
			_ = u.w.api.update(kubectl, next, d.version)
		}
	}
	if n > 0 || d.replicas == 0 {
		write()
	} else {
		u.w.ends(d, write)
	}
}

func (u *users) delete(a Act) {
	if d := u.find(a.N); d != nil {
		u.w.ends(d, func() { u.deleteNow(a) })
	}
}

func (u *users) deleteNow(a Act) {
	d := u.find(a.N)
	if d == nil {
		return
	}
	w, uid := u.w, d.uid
	if a.Do == foreground {
		next := d.copy()
		next.deleting = true
		_ = w.api.update(kubectl, next, 0)
	} else {
		_ = w.api.remove(kubectl, deployments, d.name, 0)
	}
	w.after(w.between(10*time.Millisecond, 30*time.Millisecond), func() { w.workload.collect(uid, a.Do == foreground) })
}

// unready has pods fail their readiness probe for a while, kill has them gone at once.
func (u *users) unready(a Act) {
	for _, o := range u.w.api.list(pods) {
		p := o.(*pod)
		if p.deployment != nameOf(a.N) || !p.serves() {
			continue
		}
		u.w.kubelet.setReady(p.name, false)
		u.w.kubelet.readyAfter(p.name, a.For)
		if a.Value == "one" {
			return
		}
	}
}

func (u *users) kill(a Act) {
	var names []string
	for _, o := range u.w.api.list(pods) {
		if p := o.(*pod); p.deployment == nameOf(a.N) {
			names = append(names, p.name)
		}
	}
	for _, name := range names {
		_ = u.w.api.remove(kubectl, pods, name, 0)
	}
}

// deleteService takes the Service away, and its derived objects with it, and brings it back.
func (u *users) deleteService(a Act) {
	w, service := u.w, u.w.of(a)
	if w.api.remove(kubectl, services, service, 0) != nil {
		return
	}
	w.after(w.between(10*time.Millisecond, 100*time.Millisecond), func() {
		if find(w.api.list(services), service) == nil {
			w.loseDerived(kubernetes, service)
		}
	})
	w.after(200*time.Millisecond+a.For, func() {
		_ = w.api.create(kubectl, &kubeService{identity: identity{kind: services, name: service}, app: app})
	})
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

// servicesIn are all Services that a replica knows.
func servicesIn(c *cache) []release.Service {
	var out []release.Service
	for _, o := range c.tables[services] {
		out = append(out, o.(*kubeService).seen())
	}
	return out
}
