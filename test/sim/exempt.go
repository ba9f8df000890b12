package sim

import "fmt"

// What the contract cannot promise, all of it, each with its reason. Anything else is a failure.

// exemptNC: a route to a cluster that an Envoy does not know is never exempt, but where somebody else deleted the
// DestinationRule (or Istio's definitions, or the Service, and with them the rule) under the routes. That ends once
// the rule was written again and has had time to be served. exemptSurprise tells the other case.
func (j *book) exemptNC() bool {
	return j.tampered || j.repaired > 0 && j.w.now <= j.repaired+slowest
}

// exemptWeights: what somebody else wrote into the routes is served until it is put back.
func (j *book) exemptWeights() bool {
	return j.edited || j.restored > 0 && j.w.now <= j.restored+slowest
}

// exemptUH: a route to a version without endpoints is exempt where pods went away under it, and nobody could have
// known:
//
//  1. The version serves no more, or serves again only since so short a time that this Envoy need not know it yet, and
//     routes led to it since before its last pod went: users delete, scale and force-delete pods, and pods fail, faster
//     than routes can follow. Not so where the webhook moved the traffic first and let the end pass then.
//     What the writer of the routes knew of pods counts, not when it wrote: a watch of pods that lags cannot tell.
//  2. The writer of the routes knew of nobody who serves and may be routed to: no version serves, or only candidates
//     that ask for nothing. Or the first of all to serve does so only since then.
//  3. The Service itself was deleted and has just come back.
//
// That routes do move once they can is left to oracle (d).
func (j *book) exemptUH(subset string) bool {
	s := j.supply[subset]
	r := j.routed[subset]
	if j.w.now <= j.serviceAt+slowest || j.healthy < 0 || !r.choice || j.healthy > r.began {
		return true
	}
	if r.ended > 0 && s.lost >= r.ended {
		return false // the door had its traffic moved away first
	}
	if s.lost == 0 || s.lost < r.began {
		return false // it was empty, or not yet known, when somebody chose to route there
	}
	return s.ready == 0 || j.w.now <= s.regained+slowest
}

// why says what is known about a version that is served without endpoints.
func (j *book) why(subset string) string {
	s := j.supply[subset]
	return fmt.Sprintf("%d of its pods serve; the last one went at %s, the first one came at %s, "+
		"and routes lead there by what was known at %s",
		s.ready, s.lost, s.regained, j.routed[subset].began)
}
