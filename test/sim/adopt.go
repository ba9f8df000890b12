package sim

import (
	"errors"
	"slices"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

const adopting = release.Adopting

// adoption is annotator's: the steps that give running pods the version label without a restart, told from what is there.
// Unlike the rest it reads past the cache.
type adoption struct {
	deployment *deployment
	sets       []*replicaSet
	version    string
}

type adoptionStep int

const (
	stepPods adoptionStep = iota
	stepPause
	stepAwaitPause
	stepSets
	stepAwaitSets
	stepTemplate
)

func (a adoption) next() adoptionStep {
	d := a.deployment
	switch {
	case d.template.version == a.version && d.annotations[intent.KeyHeld] == adopting:
		return stepTemplate
	case d.template.version == a.version:
		return stepPods
	case a.ready() != nil && a.observed():
		return stepTemplate
	case d.template.version != "" || a.current() == nil && a.ready() == nil && !d.paused:
		return stepTemplate
	case a.ready() == nil && !d.paused:
		return stepPause
	case d.observed < d.generation:
		return stepAwaitPause
	case len(a.toLabel()) > 0:
		return stepSets
	case !a.observed():
		return stepAwaitSets
	}
	return stepTemplate
}

func (a adoption) observed() bool {
	return !slices.ContainsFunc(a.sets, func(s *replicaSet) bool { return s.observed < s.generation })
}

func (a adoption) equal(t template) *replicaSet {
	for _, s := range a.sets {
		if s.template == t {
			return s
		}
	}
	return nil
}

func (a adoption) ready() *replicaSet {
	return a.equal(template{a.deployment.template.image, a.version})
}

func (a adoption) current() *replicaSet { return a.equal(a.deployment.template) }

func (a adoption) toLabel() []*replicaSet {
	return slices.DeleteFunc(slices.Clone(a.sets), func(s *replicaSet) bool {
		return s.template.version != "" || s != a.current() && s.replicas == 0
	})
}

func (h *hands) readAdoption(name, version string) (adoption, error) {
	d, ok := get[*deployment](h.r.w.api.list(deployments), name)
	if !ok {
		return adoption{}, errNotFound
	}
	h.known[name] = d.version
	return adoption{deployment: d, sets: setsOf(h.r.w.api.list(replicaSets), d.uid), version: version}, nil
}

// Label makes one write at a time, so that a crash may come between any two.
func (h *hands) Label(m release.Member) error {
	a, err := h.readAdoption(m.Deployment, m.Version)
	if err != nil || a.deployment.deleting {
		return err
	}
	step := a.next()
	if h.r.w.mutation.unpausedAdoption && (step == stepPause || step == stepAwaitPause) && len(a.toLabel()) > 0 {
		step = stepSets
	}
	switch step {
	case stepPause:
		if err := h.update(a.deployment, func(d *deployment) {
			value := adopting
			d.annotate(intent.KeyHeld, &value, routing.FieldManager)
			d.pause(true)
		}); err != nil {
			return err
		}
		return errMore
	case stepSets:
		return h.labelSet(a)
	case stepAwaitPause:
		return errNotYet
	}
	if p := h.unlabelled(a); p != nil {
		return h.labelPod(p, m.Version)
	}
	switch step {
	case stepAwaitSets:
		return errNotYet
	case stepTemplate:
		return h.labelTemplate(a)
	}
	return nil
}

func (h *hands) labelSet(a adoption) error {
	next := a.toLabel()[0].copy()
	at := next.version
	next.template.version = a.version
	next.generation++
	if err := h.write(func(api *api, by string) error { return api.update(by, next, at) }); err != nil {
		return err
	}
	return errMore
}

func (h *hands) unlabelled(a adoption) *pod {
	for _, o := range h.r.w.api.list(pods) {
		p := o.(*pod)
		if p.label == "" && slices.ContainsFunc(a.sets, func(s *replicaSet) bool { return s.uid == p.owner }) {
			return p
		}
	}
	return nil
}

func (h *hands) labelPod(p *pod, version string) error {
	next := p.copy()
	next.label = version
	if err := h.write(func(a *api, by string) error { return a.update(by, next, p.version) }); err != nil && !errors.Is(err, errNotFound) {
		return err
	}
	return errMore
}

func (h *hands) labelTemplate(a adoption) error {
	return h.update(a.deployment, func(d *deployment) {
		if d.template.version != a.version {
			d.template.version, d.templateBy = a.version, routing.FieldManager
			d.generation++
		}
		if d.annotations[intent.KeyHeld] == adopting {
			d.annotate(intent.KeyHeld, nil, routing.FieldManager)
			d.pause(false)
			h.unpaused[d.name] = true
		}
	})
}

// update writes a Deployment that was just read.
func (h *hands) update(d *deployment, change func(*deployment)) error {
	next := d.copy()
	change(next)
	err := h.write(func(a *api, by string) error { return a.update(by, next, d.version) })
	if err == nil {
		h.wrote(next)
	}
	return err
}

func (h *hands) endAdoption(name string) error {
	a, err := h.readAdoption(name, "")
	if err != nil {
		return err
	}
	for _, s := range a.sets {
		a.version = s.template.version
		if a.version != "" && a.current() == nil && a.ready() == s {
			return h.labelTemplate(a)
		}
	}
	return h.patch(name, func(d *deployment) {
		d.annotate(intent.KeyHeld, nil, routing.FieldManager)
		d.pause(false)
	})
}
