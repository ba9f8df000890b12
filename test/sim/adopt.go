package sim

import (
	"cmp"
	"errors"
	"slices"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

const adopting = release.Adopting

// adoption is what release.Adoption tells the next step of, read past the cache.
type adoption struct {
	deployment *deployment
	sets       []*replicaSet
	version    string
}

func (a adoption) state() release.Adoption {
	d := a.deployment
	return release.Adoption{
		Labelled: d.template.version != "", Done: d.template.version == a.version,
		Paused: d.paused, Ours: d.annotations[intent.KeyHeld] == adopting, PauseSeen: d.observed >= d.generation,
		Current: a.current() != nil, Ready: a.ready() != nil, SetsLack: len(a.toLabel()) > 0, SetsSeen: a.observed(),
	}
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

// LabelPods makes one write at a time as well.
func (h *hands) LabelPods(m release.Member) error {
	a, err := h.readAdoption(m.Deployment, m.Version)
	if err != nil || !slices.ContainsFunc(a.sets, func(s *replicaSet) bool { return s.template.version == a.version }) {
		return err
	}
	return h.labelPods(a)
}

// Label makes one write at a time, so that a crash may come between any two.
func (h *hands) Label(m release.Member) error {
	a, err := h.readAdoption(m.Deployment, m.Version)
	if err != nil || a.deployment.deleting {
		return err
	}
	return h.advance(a)
}

func (h *hands) advance(a adoption) error {
	step := h.r.w.mutation.adopt(a.state()).Next()
	switch step {
	case release.Pause:
		if err := h.update(a.deployment, func(d *deployment) {
			value := adopting
			d.annotate(intent.KeyHeld, &value, routing.FieldManager)
			d.pause(true)
		}); err != nil {
			return err
		}
		return errMore
	case release.LabelSets:
		return h.labelSet(a)
	case release.AwaitPause:
		return errNotYet
	}
	if err := h.labelPods(a); err != nil {
		return err
	}
	switch step {
	case release.AwaitSets:
		return errNotYet
	case release.LabelTemplate:
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

// labelPods gives a pod its ReplicaSet's version, or, where that has none and the pod neither, the adoption's.
func (h *hands) labelPods(a adoption) error {
	for _, o := range h.r.w.api.list(pods) {
		p := o.(*pod)
		for _, s := range a.sets {
			if version := cmp.Or(s.template.version, p.label, a.version); s.uid == p.owner && p.label != version {
				return h.labelPod(p, version)
			}
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
			return h.advance(a)
		}
	}
	return h.patch(name, func(d *deployment) {
		d.annotate(intent.KeyHeld, nil, routing.FieldManager)
		d.pause(false)
	})
}
