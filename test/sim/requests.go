package sim

// requests is oracle (c), asked whenever an Envoy changes, so that no request could be sent in between. Clients call
// each Service all the time, through each Envoy.
func (j *judge) requests(e *envoy) {
	for n, o := range e.services {
		j.books[n].requests(e, o)
	}
}

func (j *book) requests(e *envoy, o *outbound) {
	if !o.host {
		return // the Service is gone
	}
	if o.routes == nil {
		j.plain(e, o)
		return
	}
	if sum := total(o.routes); sum != 100 && sum != 10000 && !j.exemptWeights() {
		j.w.fail("b", "%s serves weights %v", e.name, o.routes)
	}
	for _, r := range o.routes {
		c := o.cluster(r.subset)
		switch {
		case r.subset == "": // the whole Service, which every Envoy knows
		case c == nil && (j.exemptNC() || j.exemptSurprise(e.namespace)):
		case c == nil:
			j.w.fail("c", "503 NC: %s routes %s to subset %s, which it does not know "+
				"(it knows %v, and waits for the endpoints of %v)", e.name, o.service, r.subset, o.active, o.warming)
		case len(c.pods) == 0 && !r.copies && !j.exemptUH(r.subset):
			j.w.fail("c", "503 UH: %s routes %s to subset %s, which has no pods there, although %s",
				e.name, o.service, r.subset, j.why(r.subset))
		}
	}
}

// plain: without a route requests go to all pods. A candidate that was held at the door is not to be among them,
// whether it is released behind the Service or not; pods that are left of a deleted Deployment of its name are none
// of its.
func (j *book) plain(e *envoy, o *outbound) {
	for _, name := range o.plain {
		p, ok := get[*pod](j.w.api.list(pods), name)
		if !ok || p.terminating {
			continue
		}
		d, ok := get[*deployment](j.w.api.list(deployments), p.deployment)
		if ok && j.shielded[d.uid] && d.candidate() && owns(setsOf(j.w.api.list(replicaSets), d.uid), p) {
			j.w.fail("b", "%s has no route for Service %s, and sends requests to pods of candidate %s",
				e.name, o.service, d.name)
		}
	}
}
