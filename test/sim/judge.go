package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// judge holds the oracles (a) to (e), and the history that they need. It sees every write when it is stored, and every
// Envoy whenever it changes; it knows the truth, which nobody that it judges does.
type judge struct {
	w        *world
	deciding *sight // what whoever of grayscale is writing has decided from

	ours, others time.Duration // when grayscale, and when anybody else, wrote last
	writes       int           // of grayscale
	supply       map[string]supply
	healthy      time.Duration // since when anybody serves; negative while nobody does
	books        []*book       // in the order of world.services
}

// book is what the judge knows of one Service.
type book struct {
	*judge
	service   string
	served    map[string]basis  // by Deployment: what the routes rest on
	serviceAt time.Duration     // when the Service came or went
	routed    map[string]routed // by subset
	shielded  map[int64]bool    // candidates (by uid) that were held at the door: no request without a route
	tampered  bool              // somebody else took the DestinationRule away, and it is not back
	repaired  time.Duration
	// surprised are the namespaces of clients from whom a rule took the subsets without the door being asked, and when
	// the routes led them past these; negative while they do not.
	surprised map[string]time.Duration
	edited    bool // somebody else edited the routes, and they are not put back
	restored  time.Duration
}

func newJudge(w *world) *judge {
	j := &judge{w: w}
	for _, service := range w.services {
		j.books = append(j.books, &book{judge: j, service: service})
	}
	return j
}

// book is that of a Service; nil of one that nobody releases.
func (j *judge) book(service string) *book {
	for _, b := range j.books {
		if b.service == service {
			return b
		}
	}
	return nil
}

// basis is the state of a Deployment's annotations that routes were made from.
type basis struct {
	uid, asked int64
}

// routed is whether routes lead to a subset, up to when pods were known to whoever began to route there, and whether
// it knew of anybody who could have been chosen instead.
type routed struct {
	began  time.Duration
	ended  time.Duration // when the door let an end pass because its traffic had gone; 0 for never
	choice bool
	now    bool
}

// supply is what is known of a version's pods that serve.
type supply struct {
	ready          int
	lost, regained time.Duration // when the last one went, when the first one came
}

func (j *judge) wrote(by string, before object, c change) {
	if j.deciding != nil {
		j.ours = j.w.now
		j.writes++
		j.touched(before, c)
	} else {
		j.others = j.w.now
	}
	if p, ok := c.object.(*pod); ok && p.app == app {
		j.count(p.label)
		if old, ok := before.(*pod); ok && old.label != p.label {
			j.count(old.label)
		}
	}
	switch o := c.object.(type) {
	case *deployment:
		if !o.candidate() || c.gone || o.replicas == 0 {
			j.unheld(o)
		}
		if named, ok := get[*deployment](j.w.api.list(deployments), o.annotations[intent.KeyStable]); ok {
			j.unheld(named) // somebody takes it for stable, and plain balancing is right for that
		}
	case *kubeService:
		if b := j.book(o.name); b != nil {
			b.serviceAt, b.shielded = j.w.now, nil // one that comes in the middle of a release is pinned as fast as can be
		}
	case *virtualService:
		j.bookOf(o.name).routes(by, before, o, c.gone)
	case *destinationRule:
		if derived(o.name) {
			j.bookOf(o.name).rule(by, o, c.gone)
		} else {
			j.w.note("somebody has DestinationRule %s %v: %t", o.name, o.spec.Spec.ExportTo, !c.gone)
		}
	}
}

// bookOf is that of the Service of a derived object.
func (j *judge) bookOf(derived string) *book {
	return j.book(strings.TrimSuffix(derived, "-grayscale"))
}

func (j *judge) count(version string) {
	n := 0
	for _, o := range j.w.api.list(pods) {
		if p := o.(*pod); p.app == app && p.label == version && p.serves() {
			n++
		}
	}
	if j.supply == nil {
		j.supply = map[string]supply{}
	}
	s := j.supply[istio.SubsetName(version)]
	switch {
	case s.ready > 0 && n == 0:
		s.lost = j.w.now
	case s.ready == 0 && n > 0:
		s.regained = j.w.now
	}
	s.ready = n
	j.supply[istio.SubsetName(version)] = s
	j.anybody()
}

func (j *judge) anybody() {
	serves := slices.ContainsFunc(j.w.api.list(pods), func(o object) bool {
		p := o.(*pod)
		return p.app == app && p.serves()
	})
	switch {
	case !serves:
		j.healthy = -1
	case j.healthy < 0:
		j.healthy = j.w.now
	}
}

// routes judges a write of the VirtualService.
func (j *book) routes(by string, before object, vs *virtualService, gone bool) {
	old, _ := before.(*virtualService)
	if gone {
		j.w.note("%s removes VirtualService %s", by, vs.name)
		j.routed, j.edited, j.restored = nil, false, j.w.now
		if j.deciding == nil {
			j.shielded = nil // without the routes that somebody took away nobody is kept from plain balancing
		}
		return
	}
	j.w.note("%s writes routes of %s %v", by, j.service, routesOf(vs.spec))
	j.pinnedBeside(old)
	j.led(vs.spec)
	if j.deciding == nil {
		j.edited = true
		return
	}
	if j.edited {
		j.edited, j.restored = false, j.w.now
	}
	j.subsetsExist()
	j.whole(vs.spec)
	j.asksFor(vs.spec, old)
	j.neverBack(vs.spec, old)
	j.reference(vs.spec)
}

func (j *book) rule(by string, dr *destinationRule, gone bool) {
	if gone {
		j.w.note("%s removes DestinationRule %s", by, dr.name)
	} else {
		j.w.note("%s writes subsets of %s %v", by, j.service, istio.Subsets(dr.spec))
	}
	switch {
	case j.deciding != nil:
		j.subsetsExist()
		if j.tampered {
			j.tampered, j.repaired = false, j.w.now
		}
	case gone:
		j.tampered = true
	}
}

// subsetsExist is oracle (a): no VirtualService names a subset that is absent from its DestinationRule.
func (j *book) subsetsExist() {
	vs, ok := get[*virtualService](j.w.api.list(virtualServices), mesh.Name(j.service))
	if !ok || j.edited || j.tampered {
		return
	}
	var subsets []string
	if dr, ok := get[*destinationRule](j.w.api.list(destinationRules), mesh.Name(j.service)); ok {
		subsets = istio.Subsets(dr.spec)
	}
	for _, s := range istio.ReferencedSubsets(vs.spec) {
		if !slices.Contains(subsets, s) {
			j.w.fail("a", "the VirtualService names subset %s, the DestinationRule holds %v", s, subsets)
		}
	}
}

// whole is part of oracle (b): every port says the same, weights add up, and the state next to them says it too.
func (j *book) whole(vs *networkingv1.VirtualService) {
	t, ok := istio.Mesh{}.ReadTraffic(vs)
	st, known := mesh.ReadState(vs)
	sum := intent.Percent(0)
	for _, x := range t.Weights {
		sum += x.Share
	}
	if !ok || !known || sum != intent.Hundred || fmt.Sprint(t) != fmt.Sprint(st.Traffic) {
		j.w.fail("b", "written weights %v do not add up, or differ from the state %v", t, st.Traffic)
	}
}

// asksFor is part of oracle (b): nobody gets a weight that it did not ask for, while stable can serve.
func (j *book) asksFor(vs *networkingv1.VirtualService, old *virtualService) {
	st, _ := mesh.ReadState(vs)
	var before release.State
	if old != nil {
		before, _ = mesh.ReadState(old.spec)
	}
	if fmt.Sprint(st.Traffic) == fmt.Sprint(before.Traffic) {
		return // judged when it was first written
	}
	view := j.deciding.facts
	if _, announced := st.Leaving[st.Stable.Deployment]; announced {
		return
	}
	for _, x := range view.Deployments {
		if x.Name == st.Stable.Deployment && (x.Deleting || x.Replicas == 0 || x.Ready(st.Stable.Version) == 0) {
			return
		}
	}
	for _, w := range st.Traffic.Weights {
		isStable := func(x release.Deployment) bool { return x.Name == st.Stable.Deployment }
		asked := w.Version == st.Stable.Version || !slices.ContainsFunc(view.Deployments, isStable)
		for _, x := range view.Deployments {
			i, _ := intent.Parse("", x.Annotations)
			v := versionBehind(j.service, x)
			asked = asked || v == w.Version && i.Share() == w.Share && j.isFor(x.Annotations)
		}
		for _, h := range before.Candidates {
			asked = asked || h.Version == w.Version && h.Intent.Share() == w.Share
		}
		if !asked {
			j.w.fail("b", "version %s gets %s, which nobody asked for", w.Version, w.Share)
		}
	}
}

// neverBack is part of oracle (b): routes made from newer annotations are not followed by routes made from older ones.
func (j *book) neverBack(vs *networkingv1.VirtualService, old *virtualService) {
	if j.served == nil || old == nil {
		j.served = map[string]basis{}
	}
	now, _ := istio.Mesh{}.ReadTraffic(vs)
	was := release.Traffic{}
	if old != nil {
		was, _ = istio.Mesh{}.ReadTraffic(old.spec)
	}
	for _, d := range j.deciding.deployments {
		v := versionBehind(j.service, d.seen())
		last := j.served[d.name]
		if last.uid == d.uid && d.asked < last.asked && share(now, v) != share(was, v) {
			j.w.fail("b", "the weight of %s goes from %s back to %s, which older annotations ask for",
				d.name, share(was, v), share(now, v))
		}
		if d.uid > last.uid || d.asked > last.asked {
			j.served[d.name] = basis{d.uid, d.asked}
		}
	}
}

func share(t release.Traffic, version string) intent.Percent {
	for _, w := range t.Weights {
		if w.Version == version {
			return w.Share
		}
	}
	for _, w := range t.Mirrors {
		if w.Version == version {
			return -w.Share
		}
	}
	return 0
}

// reference notes what whoever began to route to a subset knew of pods.
func (j *book) reference(vs *networkingv1.VirtualService) {
	next, choice := map[string]routed{}, j.choice(vs)
	for name, r := range j.routed {
		next[name] = routed{began: r.began, ended: r.ended, choice: r.choice}
	}
	for _, r := range splitOf(vs) {
		if was := j.routed[r.subset]; was.now {
			next[r.subset] = was
		} else {
			next[r.subset] = routed{began: j.deciding.pods, choice: choice, now: true}
		}
	}
	j.routed = next
}

// choice: whoever writes these routes knew of somebody who serves, for long enough, and is allowed to: stable, a
// candidate that asks for a share, or, where stable leaves, any candidate.
func (j *book) choice(vs *networkingv1.VirtualService) bool {
	st, _ := mesh.ReadState(vs)
	leaves := true
	for _, x := range j.deciding.facts.Deployments {
		_, announced := st.Leaving[x.Name]
		leaves = leaves && (x.Name != st.Stable.Deployment || x.Deleting || x.Replicas == 0 || announced)
	}
	return slices.ContainsFunc(j.deciding.facts.Deployments, func(x release.Deployment) bool {
		asked, problems := intent.Parse("", x.Annotations)
		v := versionBehind(j.service, x)
		stable := x.Name == st.Stable.Deployment
		settled := slices.ContainsFunc(x.Pods, func(p release.Pods) bool {
			return p.Version == v && p.Ready > 0 && j.deciding.facts.Now.Sub(p.Since) >= settings.Settle
		})
		_, announced := st.Leaving[x.Name]
		return settled && !x.Deleting && x.Replicas > 0 && !announced &&
			(stable || x.IsCandidate() && intent.Usable(problems) && (leaves || asked.Share() > 0 && j.isFor(x.Annotations)))
	})
}

// drained: the door lets an end pass. Envoys have been told, so that from now on nothing goes there.
func (j *book) drained(subset string) {
	if r, ok := j.routed[subset]; ok && !r.now {
		r.ended = j.w.now
		j.routed[subset] = r
	}
}

// isFor: a Deployment is released behind the Service, by what it names, or because there is no other one.
func (j *book) isFor(annotations map[string]string) bool {
	named := intent.Services(annotations)
	return slices.Contains(named, j.service) || len(named) == 0 && len(j.books) == 1
}

// created: a candidate that the door had to hold gets no request before a route says so, of whichever Service.
func (j *judge) created(d *deployment) {
	r := j.w.answering()
	shield := r != nil && d.candidate() && !slices.ContainsFunc(j.w.api.list(deployments), func(o object) bool {
		return o.(*deployment).annotations[intent.KeyStable] == d.name
	})
	for _, b := range j.books {
		if !shield || find(j.w.api.list(virtualServices), mesh.Name(b.service)) != nil || pinned(r.cache, b.service) != nil {
			continue
		}
		if b.shielded == nil {
			b.shielded = map[int64]bool{}
		}
		b.shielded[d.uid] = true
	}
}

// unheld: its owner took the hold away.
func (j *judge) unheld(d *deployment) {
	for _, b := range j.books {
		delete(b.shielded, d.uid)
	}
}

// touched is oracle (e): what grayscale writes of objects that are not its own.
func (j *judge) touched(before object, c change) {
	switch o := c.object.(type) {
	case *virtualService, *destinationRule:
		if !derived(o.id().name) || j.bookOf(o.id().name) == nil {
			j.w.fail("e", "%s is written", o.id().name)
		}
	case *deployment:
		j.touchedDeployment(before, o, c.gone)
	case *replicaSet:
		was, ok := before.(*replicaSet)
		if !ok || c.gone || was.replicas != o.replicas || was.template.image != o.template.image {
			j.w.fail("e", "more than the label of ReplicaSet %s is written", o.name)
		} else if d := j.ownerOf(o); d != nil && !d.paused && !d.relabelled && was.template == d.template {
			j.w.fail("e", "ReplicaSet %s is labelled while %s is not paused: it rolls out another one", o.name, d.name)
		}
	case *pod:
		was, ok := before.(*pod)
		if !ok || c.gone || was.label != "" || was.terminating != o.terminating || was.app != app {
			j.w.fail("e", "more than the missing label of pod %s is written", o.name)
		}
	default:
		j.w.fail("e", "a %s is written", kindNames[o.id().kind])
	}
}

// ownerOf is the Deployment of a ReplicaSet; nil where it is gone.
func (j *judge) ownerOf(s *replicaSet) *deployment {
	if d, ok := get[*deployment](j.w.api.list(deployments), s.deployment); ok && d.uid == s.owner {
		return d
	}
	return nil
}

func (j *judge) touchedDeployment(before object, d *deployment, gone bool) {
	was, ok := before.(*deployment)
	switch {
	case !ok || gone:
		j.w.fail("e", "Deployment %s is created or deleted", d.name)
		return
	case d.app != app:
		j.w.fail("e", "Deployment %s, which has nothing to do with any release, is written", d.name)
	case was.replicas != d.replicas || was.template.image != d.template.image:
		j.w.fail("e", "replicas or template of Deployment %s are written", d.name)
	case d.paused && !was.paused && d.annotations[intent.KeyHeld] == "":
		j.w.fail("e", "Deployment %s is paused without a mark", d.name)
	}
	for _, k := range intentKeys {
		if v, set := d.annotations[k]; was.annotations[k] != v && (set || was.setBy[k] != routing.FieldManager) {
			j.w.fail("e", "the user's annotation %s of %s is written", k, d.name)
		}
	}
}

// intentKeys are the annotations that are only users' to write. The key version is missing: stable gets it for a while.
var intentKeys = []string{intent.KeyStrategy, intent.KeyService, intent.KeyStable, intent.KeyWeight,
	intent.KeyActive, intent.KeyMirrorPercent, intent.KeyPaused}

// rolled is part of oracle (e): adoption never replaces a pod.
func (j *judge) rolled(d *deployment, sets []*replicaSet) {
	for _, s := range sets {
		ours := !d.relabelled && (d.templateBy == routing.FieldManager || d.templateBy == "")
		if ours && s.template.image == d.template.image && j.w.workload.ready(s) > 0 {
			j.w.fail("e", "adoption replaces the pods of %s: its template has version %q, its ReplicaSet %q",
				d.name, d.template.version, s.template.version)
		}
	}
}
