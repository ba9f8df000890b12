package sim

import "grayscale.dev/grayscale/routing/release"

// requests is oracle (c), asked whenever an Envoy changes, so that no request could be sent in between. Clients call the
// Service all the time, through each Envoy.
func (j *judge) requests(e *envoy) {
	if !e.host {
		return // the Service is gone
	}
	if e.routes == nil {
		j.plain(e)
		return
	}
	if sum := total(e.routes); sum != 100 && sum != 10000 && !j.exemptWeights() {
		j.w.fail("b", "%s serves weights %v", e.name, e.routes)
	}
	for _, r := range e.routes {
		c := e.cluster(r.subset)
		switch {
		case r.subset == "": // the whole Service, which every Envoy knows
		case c == nil && (j.exemptNC() || j.exemptSurprise(e.namespace)):
		case c == nil:
			j.w.fail("c", "503 NC: %s routes to subset %s, which it does not know (it knows %v, and waits for the endpoints of %v)", e.name, r.subset, e.active, e.warming)
		case len(c.pods) == 0 && !r.copies && !j.exemptUH(r.subset):
			j.w.fail("c", "503 UH: %s routes to subset %s, which has no pods there, although %s", e.name, r.subset, j.why(r.subset))
		}
	}
}

// plain: without a route requests go to all pods. A candidate that was held at the door is not to be among them; pods that are left
// of a deleted Deployment of its name are none of its.
func (j *judge) plain(e *envoy) {
	for _, name := range e.plain {
		p, ok := get[*pod](j.w.api.list(pods), name)
		if !ok || p.terminating {
			continue
		}
		d, ok := get[*deployment](j.w.api.list(deployments), p.deployment)
		if ok && j.shielded[d.uid] && release.IsCandidate(d.seen()) && owns(setsOf(j.w.api.list(replicaSets), d.uid), p) {
			j.w.fail("b", "%s has no route for the Service, and sends requests to pods of candidate %s", e.name, d.name)
		}
	}
}
