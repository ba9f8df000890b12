package webhook

import (
	"crypto/x509"
	"encoding/pem"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Keys of the Secret beside tls.crt and tls.key, which hold what is served.
const (
	caKey      = "ca.crt"   // whom the API server has to trust; the key of a CA in a Secret of type kubernetes.io/tls, as cert-manager names it
	nextKey    = "next.key" // what is served after the next rotation
	nextCrt    = "next.crt"
	rotatedKey = "rotated" // when what is served took over
)

const (
	// longestOverlap bounds how long a CA stays trusted after its certificate was replaced. Every replica follows the
	// Secret by a watch, so that it serves with the new one within a moment.
	longestOverlap = time.Hour
	// mostRetired bounds the bundle, whatever happens to the Secret.
	mostRetired = 16
)

// rotation are the rules by which the certificate changes while any number of replicas serve, none of which knows of the
// others. All that they share is one Secret:
//
//	           trusted by the API server     served
//	at first   A B                           A
//	rotated    A B C                         A, then B, as each replica sees the change
//	overlap    B C                           B
//	rotated    B C D                         B, then C
//
// The next certificate is made a whole period before it is served, and its CA is trusted from then on. So a rotation is one
// write to the Secret, after which no replica depends on how fast another is. Every step follows from the Secret and the
// time alone: whoever sees that one is due makes it, and of several the API server lets one through.
type rotation struct {
	names    []string
	lifetime time.Duration
}

// period is how long a certificate is served. It is made one period before that, valid since one period before it was
// made, and for two after it has been replaced: by so much may clocks differ, and grayscale be switched off.
func (r rotation) period() time.Duration { return r.lifetime / 4 }

// issued is when a pair was made, to the second.
func (r rotation) issued(p *pair) time.Time { return p.serving.Leaf.NotBefore.Add(r.period()) }

func (r rotation) overlap() time.Duration { return min(longestOverlap, r.period()) }

// shared is what the Secret holds, as far as it can be used.
type shared struct {
	current, next *pair               // nil where it is absent, damaged or expired
	retired       []*x509.Certificate // CAs of what some replica may still be serving
	rotated       time.Time
}

// read never fails: what cannot be read is made anew by the next step.
func (r rotation) read(data map[string][]byte, now time.Time) shared {
	var s shared
	cas := readBundle(data[caKey])
	if p, err := readPair(data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey], cas, r.names[0], now); err == nil {
		s.current = p
	}
	if p, err := readPair(data[nextCrt], data[nextKey], cas, r.names[0], now); err == nil {
		s.next = p
	}
	if at, err := time.Parse(time.RFC3339Nano, string(data[rotatedKey])); err == nil {
		s.rotated = at
	}
	s.retire(now, cas...)
	return s
}

// write is read's other way.
func (s shared) write() (map[string][]byte, error) {
	bundle, err := writeBundle(s.trusted())
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		corev1.TLSCertKey: s.current.certificate, corev1.TLSPrivateKeyKey: s.current.key,
		nextCrt: s.next.certificate, nextKey: s.next.key,
		caKey: bundle, rotatedKey: []byte(s.rotated.UTC().Format(time.RFC3339Nano)),
	}, nil
}

// trusted are the CAs that the API server has to trust.
func (s shared) trusted() []*x509.Certificate {
	var out []*x509.Certificate
	for _, p := range []*pair{s.current, s.next} {
		if p != nil {
			out = append(out, p.ca)
		}
	}
	return append(out, s.retired...)
}

// retire keeps CAs trusted for the overlap, the newest where they are too many.
func (s *shared) retire(now time.Time, cas ...*x509.Certificate) {
	for _, ca := range cas {
		if now.Before(ca.NotAfter) && !contains(s.trusted(), ca) {
			s.retired = append(s.retired, ca)
		}
	}
	s.retired = s.retired[max(0, len(s.retired)-mostRetired):]
}

// outlook is what a replica knows beside the Secret.
type outlook struct {
	held        shared              // the last content of the Secret that was whole: it outlives the Secret
	since       time.Time           // when this replica first saw the last rotation, by its own clock
	trusted     []*x509.Certificate // CAs in the webhook configurations: other replicas may be serving what they have signed
	nextTrusted bool                // the webhook configurations have the CA of the next certificate
}

// step is what has to be written to the Secret now, and why; no reason where there is nothing to write.
func (r rotation) step(s shared, o outlook, now time.Time) (shared, string, error) {
	switch {
	case s.current == nil:
		return r.repair(s, o, now)
	case s.next == nil:
		after := shared{current: s.current, retired: s.retired, rotated: now}
		return r.prepare(after, now, "there is no next certificate yet")
	case o.nextTrusted && r.due(s, o, now):
		return r.rotate(s, now, "it is time for the next certificate")
	case len(s.retired) > 0 && !now.Before(r.overlapped(s, o)):
		s.retired = nil
		return s, "nobody serves with what the old CA has signed any more", nil
	}
	return s, "", nil
}

// due reports whether it is time for the next certificate. Its CA has been trusted for an overlap at least: also where the
// current one has little time left, since grayscale was switched off.
func (r rotation) due(s shared, o outlook, now time.Time) bool {
	ends := s.current.expires().Add(-r.period())
	return now.Sub(s.rotated) >= r.period() || now.After(ends) && !now.Before(r.overlapped(s, o))
}

// overlapped is when every replica has followed the last rotation. Who made it may have another clock: by a clock that is
// ahead the overlap would be over before the others have seen that it has begun.
func (r rotation) overlapped(s shared, o outlook) time.Time {
	begin := o.since
	if begin.IsZero() {
		begin = s.rotated
	}
	return begin.Add(r.overlap())
}

// rotate lets the next certificate be served, and makes the one after it.
func (r rotation) rotate(s shared, now time.Time, why string) (shared, string, error) {
	after := shared{current: s.next, rotated: now}
	if s.current != nil {
		after.retire(now, s.current.ca)
	}
	if now.Sub(s.rotated) < r.period() { // one before its time: some replica may not have seen the last
		after.retire(now, s.retired...)
	}
	return r.prepare(after, now, why)
}

// prepare makes the next certificate.
func (r rotation) prepare(s shared, now time.Time, why string) (shared, string, error) {
	next, err := issue(r.names, now, r.lifetime)
	s.next = next
	return s, why, err
}

// repair goes on from what is left: the Secret's next certificate, else what this replica holds, else nothing. Whatever is
// trusted stays so for the overlap.
func (r rotation) repair(s shared, o outlook, now time.Time) (shared, string, error) {
	const why = "the Secret holds no certificate that can be served"
	from := shared{next: s.next}
	held := r.revise(o.held, now)
	if from.next == nil {
		from.next = held.next
	}
	if from.next == nil {
		from.next = held.current
	}
	if from.next == nil {
		fresh, err := issue(r.names, now, r.lifetime)
		if err != nil {
			return shared{}, why, err
		}
		from.next = fresh
	}
	after, _, err := r.rotate(from, now, why)
	if err != nil {
		return shared{}, why, err
	}
	after.retire(now, slices.Concat(s.trusted(), held.trusted(), o.trusted)...)
	return after, why, nil
}

// revise drops what has expired since it was read.
func (r rotation) revise(s shared, now time.Time) shared {
	for _, p := range []**pair{&s.current, &s.next} {
		if *p != nil && !now.Before((*p).expires()) {
			*p = nil
		}
	}
	return s
}

// again is how long it takes until the next step is due by time alone. Timers stand still while a machine sleeps, so
// nobody waits for long; a look costs nothing, since it reads from memory.
func (r rotation) again(s shared, o outlook, now time.Time) time.Duration {
	wait := min(time.Hour, s.rotated.Add(r.period()).Sub(now))
	if len(s.retired) > 0 {
		wait = min(wait, r.overlapped(s, o).Sub(now))
	}
	if s.current != nil {
		wait = min(wait, s.current.expires().Sub(now))
	}
	return max(wait, time.Second)
}

func contains(cas []*x509.Certificate, ca *x509.Certificate) bool {
	return slices.ContainsFunc(cas, ca.Equal)
}

// blocks are the PEM blocks of a text, each encoded by itself.
func blocks(text []byte) [][]byte {
	var out [][]byte
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		out = append(out, pem.EncodeToMemory(block))
	}
	return out
}
