package sim

import (
	"fmt"
	"time"
)

// kubelet runs pods: they start, become ready, and end gracefully.
type kubelet struct {
	w      *world
	serial int
}

const node = "kubelet"

func (k *kubelet) start(s *replicaSet) {
	k.serial++
	d, ok := get[*deployment](k.w.api.list(deployments), s.deployment)
	if !ok {
		return
	}
	p := &pod{identity: identity{kind: pods, name: fmt.Sprintf("%s-%d", s.deployment, k.serial)},
		owner: s.uid, set: s.name, deployment: s.deployment, app: d.app, label: s.template.version}
	if k.w.api.create(kubernetes, p) == nil {
		k.readyAfter(p.name, k.w.between(300*time.Millisecond, 4*time.Second))
	}
}

func (k *kubelet) readyAfter(name string, d time.Duration) {
	k.w.after(d, func() { k.setReady(name, true) })
}

func (k *kubelet) setReady(name string, ready bool) {
	p, ok := get[*pod](k.w.api.list(pods), name)
	if !ok || p.terminating || p.ready == ready {
		return
	}
	next := p.copy()
	next.ready, next.since = ready, k.w.now
	_ = k.w.api.update(node, next, 0)
}

// end deletes a pod: it leaves its Service at once and serves on for a moment.
func (k *kubelet) end(name string) {
	p, ok := get[*pod](k.w.api.list(pods), name)
	if !ok || p.terminating {
		return
	}
	next := p.copy()
	next.terminating = true
	if k.w.api.update(kubernetes, next, 0) == nil {
		k.w.after(k.w.between(time.Second, 3*time.Second), func() {
			if still, ok := get[*pod](k.w.api.list(pods), name); ok && still.uid == p.uid {
				_ = k.w.api.remove(node, pods, name, 0)
			}
		})
	}
}
