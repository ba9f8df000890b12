package certs

import (
	"crypto/x509"
	"slices"
	"time"
)

// longestOverlap bounds how long a CA stays trusted after its certificate was replaced. Every replica watches the
// Secret, so it serves the new certificate almost at once.
const longestOverlap = time.Hour

// rotation has the rules by which the certificate changes while any number of replicas serve. The replicas do not know
// of each other, and share nothing but one Secret:
//
//	           trusted by the API server     served
//	at first   A B                           A
//	rotated    A B C                         A, then B, as each replica sees the change
//	overlap    B C                           B
//	rotated    B C D                         B, then C
//
// The next certificate is issued a whole period before it is served, and its CA is trusted from then on. So a rotation
// is one write to the Secret, and no replica depends on how fast another one sees it. The Secret and the time determine
// each step: any replica that finds a step due makes it, and the API server accepts one of them.
type rotation struct {
	names    []string
	lifetime time.Duration
}

// period is how long a certificate is served. A certificate is issued one period before it is served. It is valid from
// one period before it was issued until one period after it is replaced: clocks may differ by that much, and grayscale
// may be switched off for that long.
func (r rotation) period() time.Duration { return r.lifetime / 4 }

// issued is when a pair was issued, to the second.
func (r rotation) issued(p *pair) time.Time { return p.serving.Leaf.NotBefore.Add(r.period()) }

func (r rotation) overlap() time.Duration { return min(longestOverlap, r.period()) }

// view is what a replica knows in addition to the Secret.
type view struct {
	lastGood    contents            // the last usable contents: they outlive the Secret
	since       time.Time           // when this replica first saw the last rotation, by its own clock
	trusted     []*x509.Certificate // CAs in the webhook configurations, whose certificates other replicas may serve
	nextTrusted bool                // the webhook configurations have the CA of the next certificate
}

// step returns what to write to the Secret now, and why. The reason is empty where there is nothing to write.
func (r rotation) step(c contents, v view, now time.Time) (contents, string, error) {
	switch {
	case c.current == nil:
		return r.repair(c, v, now)
	case c.next == nil:
		after := contents{current: c.current, retired: c.retired, rotated: now}
		return r.prepare(after, now, "there is no next certificate yet")
	case v.nextTrusted && r.due(c, v, now):
		return r.rotate(c, now, "it is time for the next certificate")
	case len(c.retired) > 0 && !now.Before(r.overlapEnds(c, v)):
		c.retired = nil
		return c, "no replica serves a certificate of the old CA any more", nil
	}
	return c, "", nil
}

// due reports whether it is time for the next certificate. Its CA must have been trusted for an overlap, so one must
// have passed since the last rotation, even if the current certificate expires soon because grayscale was switched off.
func (r rotation) due(c contents, v view, now time.Time) bool {
	ends := c.current.expires().Add(-r.period())
	return now.Sub(c.rotated) >= r.period() || now.After(ends) && !now.Before(r.overlapEnds(c, v))
}

// overlapEnds is when every replica has seen the last rotation. It counts from when this replica saw it, not from the
// time in the Secret: another clock set that, and by this one the overlap might be over before all have seen it begin.
func (r rotation) overlapEnds(c contents, v view) time.Time {
	begin := v.since
	if begin.IsZero() {
		begin = c.rotated
	}
	return begin.Add(r.overlap())
}

// rotate makes the next certificate the current one, and issues the one after it.
func (r rotation) rotate(c contents, now time.Time, why string) (contents, string, error) {
	after := contents{current: c.next, rotated: now}
	if c.current != nil {
		after.retire(now, c.current.ca)
	}
	if now.Sub(c.rotated) < r.period() { // an early rotation: some replica may not have seen the one before
		after.retire(now, c.retired...)
	}
	return r.prepare(after, now, why)
}

// prepare issues the next certificate.
func (r rotation) prepare(c contents, now time.Time, why string) (contents, string, error) {
	next, err := issue(r.names, now, r.lifetime)
	c.next = next
	return c, why, err
}

// repair continues from the first of these that exists: the Secret's next certificate, this replica's last good next
// and current ones, a new one. All CAs that are trusted stay trusted for the overlap.
func (r rotation) repair(c contents, v view, now time.Time) (contents, string, error) {
	const why = "the Secret holds no certificate that can be served"
	lastGood := v.lastGood.unexpired(now)
	from := contents{next: c.next}
	for _, p := range []*pair{lastGood.next, lastGood.current} {
		if from.next == nil {
			from.next = p
		}
	}
	if from.next == nil {
		fresh, err := issue(r.names, now, r.lifetime)
		if err != nil {
			return contents{}, why, err
		}
		from.next = fresh
	}
	after, _, err := r.rotate(from, now, why)
	if err != nil {
		return contents{}, why, err
	}
	after.retire(now, slices.Concat(c.trusted(), lastGood.trusted(), v.trusted)...)
	return after, why, nil
}

// requeueAfter is how long it takes until the next step is due without any event. It is at most an hour, because timers
// stop while a machine sleeps. A step too many is cheap: it reads from memory.
func (r rotation) requeueAfter(c contents, v view, now time.Time) time.Duration {
	wait := min(time.Hour, c.rotated.Add(r.period()).Sub(now))
	if len(c.retired) > 0 {
		wait = min(wait, r.overlapEnds(c, v).Sub(now))
	}
	if c.current != nil {
		wait = min(wait, c.current.expires().Sub(now))
	}
	return max(wait, time.Second)
}
