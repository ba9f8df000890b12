package sim

import (
	"maps"

	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// door is admission: a live replica answers for what users write, from its cache. It reports whether the object passes.
func (w *world) door(next, old *deployment) bool {
	r := w.answering()
	if r == nil || len(next.annotations) == 0 && (old == nil || len(old.annotations) == 0) {
		return true
	}
	a := routing.Admission{Namespace: namespace, New: next.seen()}
	next.forget() // it may still change
	if old != nil {
		was := old.seen()
		a.Old, a.TemplateChanged = &was, old.template.image != next.template.image
	} else {
		a.New.UID = ""
	}
	a.Services = servicesIn(r.cache)
	a.Around = func(name string) routing.Facts {
		return observe.GatherAlone(r.reader, types.NamespacedName{Namespace: namespace, Name: name}, observe.Moment{}).Facts
	}
	v := routing.Admit(a, w.mutation.set(settings))
	if len(v.Denied) > 0 {
		w.note("the door refuses %s: %s", next.name, v.Denied[0].Message)
		return false
	}
	w.admit(next, v)
	return true
}

func (w *world) admit(next *deployment, v routing.Verdict) {
	if v.Version != "" && next.template.version != v.Version {
		next.template.version = v.Version
		next.generation++
	}
	if v.Hold && !w.mutation.noHold {
		next.annotations, next.setBy = maps.Clone(next.annotations), maps.Clone(next.setBy)
		next.annotations[intent.KeyHeld] = "true"
		next.pause(true)
	}
}

// answering is the replica that the webhook's Service leads to; nil while it is off.
func (w *world) answering() *replica {
	if w.webhookOff {
		return nil
	}
	for _, r := range w.replicas {
		if r.alive && w.now >= r.stopped {
			return r
		}
	}
	return nil
}

func pinned(c *cache, of string) *release.State {
	vs, ok := get[*virtualService](c.tables[virtualServices], mesh.Name(of))
	if !ok || !mesh.Ours(vs.spec) {
		return nil
	}
	st, _ := mesh.ReadState(vs.spec)
	return &st
}
