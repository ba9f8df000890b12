package sim

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// converges is how long grayscale may write on after everybody else has stopped: ten seconds, and the settling of a
// release that ends (the first routes, the move, the end of the routes and that of the rule).
var converges = 10*time.Second + 5*settings.Settle

// end is oracle (d): it has converged, writes nothing more, and what is there is what the contract says.
func (j *judge) end() {
	w := j.w
	if late := j.ours - max(j.others, w.lastFault); late > converges {
		w.fail("d", "the last write came %s after everybody else had stopped", late)
		return
	}
	before := j.writes
	for _, r := range w.replicas {
		r.lookAll(0)
	}
	w.drain()
	if j.writes != before {
		w.fail("d", "looking again leads to %d writes", j.writes-before)
		return
	}
	for _, b := range j.books {
		b.final()
	}
}

// final compares what is left with what the contract says, told without the engine.
func (j *book) final() {
	w := j.w
	_, exists := get[*kubeService](w.api.list(services), j.service)
	vs, routed := get[*virtualService](w.api.list(virtualServices), mesh.Name(j.service))
	_, ruled := get[*destinationRule](w.api.list(destinationRules), mesh.Name(j.service))
	if routed && !ruled || ruled && !routed && exists && !j.anyCandidate() {
		w.fail("d", "in the end there is a VirtualService: %v, a DestinationRule: %v", routed, ruled)
	}
	var state release.State
	if routed {
		state, _ = mesh.ReadState(vs.spec)
	}
	for _, o := range w.api.list(deployments) {
		if d := o.(*deployment); d.app == app && exists {
			j.finalDeployment(d, state, routed)
		}
	}
	if routed && exists {
		j.finalRoutes(vs, state)
		if ruled {
			j.finalForeign(vs.spec)
		}
	}
}

// anyRoutes: a release lasts, behind whichever Service.
func (j *judge) anyRoutes() bool {
	return slices.ContainsFunc(j.w.api.list(virtualServices), func(o object) bool { return derived(o.id().name) })
}

// anyCandidate: somebody waits for a release, be it for stable to come.
func (j *judge) anyCandidate() bool {
	return slices.ContainsFunc(j.w.api.list(deployments), func(o object) bool {
		d := o.(*deployment)
		return d.app == app && d.candidate() && d.replicas > 0
	})
}

// finalDeployment: nobody is left held or labelled for nothing, and the conditions tell the truth.
func (j *book) finalDeployment(d *deployment, state release.State, routed bool) {
	w, seen := j.w, d.seen()
	accepted := conditionOf(d, intent.ConditionAccepted)
	blocked := seen.IsCandidate() && accepted.Status == "False"
	heldForNothing := seen.IsHeld() && !blocked && d.replicas > 0 && (routed || !j.waitsForNamed())
	if heldForNothing || d.annotations[intent.KeyHeld] == release.Adopting {
		w.fail("d", "%s is left held: %v", d.name, d.annotations)
	}
	if d.paused && d.annotations[intent.KeyHeld] == "" {
		w.fail("d", "%s is left paused", d.name)
	}
	if _, version := d.annotations[intent.KeyVersion]; version && !j.anyRoutes() && !j.anyCandidate() {
		w.fail("d", "%s keeps the annotation version after the release", d.name)
	}
	candidate := seen.IsCandidate() && d.name != state.Stable.Deployment
	switch {
	case d.annotations[intent.KeyStrategy] == "" && len(d.conditions) > 0 && !candidate:
		w.fail("d", "%s, which asks for nothing, has conditions %v", d.name, d.conditions)
	case candidate && len(d.conditions) != 2:
		w.fail("d", "candidate %s has conditions %v", d.name, d.conditions)
	case candidate && routed && accepted.Status == "True" && accepted.Reason != routing.ReasonStable:
		j.finalCandidate(d, state)
	case candidate && accepted.Status != "True" && j.plainlyRight(d, state, routed):
		w.fail("d", "candidate %s is not accepted: %s", d.name, accepted.Message)
	}
}

// waitsForNamed: a candidate names a stable that does not serve, and the Service cannot be pinned to that.
func (j *judge) waitsForNamed() bool {
	return slices.ContainsFunc(j.w.api.list(deployments), func(o object) bool {
		named, ok := get[*deployment](j.w.api.list(deployments), o.(*deployment).annotations[intent.KeyStable])
		return ok && j.supply[istio.SubsetName(versionOf(named))].ready == 0
	})
}

// plainlyRight: nothing could be wrong with the candidate: it is the only one, stable is there, and its values are
// valid.
func (j *book) plainlyRight(d *deployment, state release.State, routed bool) bool {
	_, problems := intent.Parse("", d.annotations)
	candidates, plain := 0, 0
	for _, o := range j.w.api.list(deployments) {
		x := o.(*deployment)
		switch {
		case x.app != app:
		case x.annotations[intent.KeyStrategy] != "":
			candidates++
		default:
			plain++
		}
	}
	if len(j.books) > 1 && (plain != 1 || d.annotations[intent.KeyService] != j.service) {
		return false // the other Service may have something against it
	}
	return routed && candidates == 1 && intent.Usable(problems) && state.Stable.Version != versionOf(d) &&
		!j.hidden() && (d.annotations[intent.KeyStable] == "" || d.annotations[intent.KeyStable] == state.Stable.Deployment)
}

func versionOf(d *deployment) string {
	v := versionBehind(service, d.seen())
	return v
}

func conditionOf(d *deployment, kind string) release.Condition {
	i := slices.IndexFunc(d.conditions, func(c release.Condition) bool { return c.Type == kind })
	if i < 0 {
		return release.Condition{}
	}
	return d.conditions[i]
}

// finalCandidate: an accepted candidate gets exactly what it asks for, and Programmed says so in the contract's
// words. It gets nothing of a Service that it does not name, while stable serves that.
func (j *book) finalCandidate(d *deployment, state release.State) {
	asked, _ := intent.Parse("", d.annotations)
	if asked.Paused {
		return // it gets what it had, which only history could tell
	}
	programmed := conditionOf(d, intent.ConditionProgrammed)
	ready := j.supply[istio.SubsetName(versionOf(d))].ready
	got := share(state.Traffic, versionOf(d))
	want := asked.Describe(cmp.Or(asked.Service, service))
	switch {
	case !j.isFor(d.annotations):
		if got != 0 && j.stableServes(state) {
			j.w.fail("d", "%s is not released behind %s, and gets %s of it", d.name, j.service, got)
		}
	case ready == 0 || d.replicas == 0:
		// Another of its Services has nothing to pin.
		pinning := programmed.Reason == "Pinning" && len(j.books) > 1 && d.replicas == 0
		if got != 0 && j.othersServe(d) || programmed.Status != "False" || programmed.Reason != "NoReadyPods" && !pinning {
			j.w.fail("d", "%s has no ready pod, gets %s, and has condition %v", d.name, got, programmed)
		}
	case slices.ContainsFunc(j.books, (*book).blindAnywhere):
		if programmed.Reason != mesh.ReasonRuleConflict || !strings.HasPrefix(programmed.Message, want+", but ") {
			j.w.fail("d", "clients lack the subsets of %s, which has condition %v", d.name, programmed)
		}
	case programmed.Status != "True" || programmed.Message != want:
		j.w.fail("d", "%s asks for %q, and has condition %v", d.name, want, programmed)
	case asked.Strategy == intent.Mirror && got != -asked.MirrorPercent && got <= 0,
		asked.Strategy != intent.Mirror && got != asked.Share() && j.stableServes(state):
		j.w.fail("d", "%s asks for %q and gets %s of %s", d.name, want, got, j.service)
	}
}

func (j *judge) stableServes(state release.State) bool {
	d, ok := get[*deployment](j.w.api.list(deployments), state.Stable.Deployment)
	return ok && d.replicas > 0 && !d.deleting && j.supply[istio.SubsetName(state.Stable.Version)].ready > 0
}

// othersServe: somebody else could have the requests. One that is refused may not, even where nobody else has pods.
func (j *judge) othersServe(but *deployment) bool {
	return slices.ContainsFunc(j.w.api.list(deployments), func(o object) bool {
		d := o.(*deployment)
		refused := conditionOf(d, intent.ConditionAccepted).Status == "False"
		return d != but && d.app == app && !refused && j.supply[istio.SubsetName(versionOf(d))].ready > 0
	})
}

// finalRoutes: routes stay only while there is somebody beside stable, lead to pods, and all pods have a label.
func (j *book) finalRoutes(vs *virtualService, state release.State) {
	w := j.w
	beside := 0
	for _, o := range w.api.list(deployments) {
		d := o.(*deployment)
		if d.app == app && d.name != state.Stable.Deployment && d.replicas > 0 {
			beside++
		}
	}
	stable, there := get[*deployment](w.api.list(deployments), state.Stable.Deployment)
	standsIn := there && stable.candidate() && !j.isFor(stable.annotations)
	if beside == 0 && !standsIn {
		w.fail("d", "the routes stay although nobody is beside stable %s", state.Stable.Deployment)
	}
	serving, gone := false, find(w.api.list(deployments), state.Stable.Deployment) == nil
	for _, o := range w.api.list(deployments) {
		d := o.(*deployment)
		asked, _ := intent.Parse("", d.annotations)
		accepted := conditionOf(d, intent.ConditionAccepted).Status == "True"
		may := d.name == state.Stable.Deployment || accepted && (gone || asked.Share() > 0)
		// One that does not name the Service stands in behind it only where nobody else's rule hides the subsets.
		may = may && (j.isFor(d.annotations) || d.name == state.Stable.Deployment || !j.hidden())
		serving = serving || d.app == app && d.replicas > 0 && may && j.supply[istio.SubsetName(versionOf(d))].ready > 0
	}
	for _, r := range splitOf(vs.spec) {
		if j.supply[r.subset].ready == 0 && serving && !r.copies {
			w.fail("d", "routes lead to %s, which has no ready pod", r.subset)
		}
	}
	if there && stable.template.version == "" {
		w.fail("d", "stable %s has no version label", stable.name)
	}
}
