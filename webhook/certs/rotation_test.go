package certs

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"maps"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"pgregory.net/rapid"
)

var yearly = rotation{names: names, lifetime: year}

func stepped(t *testing.T, s contents, o view, now time.Time) (contents, string) {
	t.Helper()
	after, why, err := yearly.step(s, o, now)
	if err != nil {
		t.Fatal(err)
	}
	return after, why
}

// begun is a Secret that has just been made.
func begun(t *testing.T, at time.Time) contents {
	t.Helper()
	s, why := stepped(t, contents{}, view{}, at)
	if why == "" {
		t.Fatal("nothing is made of nothing")
	}
	return s
}

func serial(p *pair) string { return p.serving.Leaf.SerialNumber.Text(16) }

func trusts(cas []*x509.Certificate, p *pair) bool { return contains(cas, p.ca) }

// The life of a CA: it is trusted for a period before its certificate is served, for the period in which it is served,
// and for an overlap after that.
func TestRotation(t *testing.T) {
	trusted := view{nextTrusted: true}
	first := begun(t, day)
	if !trusts(first.trusted(), first.current) || !trusts(first.trusted(), first.next) || len(first.retired) > 0 {
		t.Fatalf("at first %d CAs are trusted", len(first.trusted()))
	}
	due := day.Add(yearly.period())
	if _, why := stepped(t, first, trusted, due.Add(-time.Second)); why != "" {
		t.Errorf("it changes too early: %s", why)
	}
	if _, why := stepped(t, first, view{}, due); why != "" {
		t.Errorf("it changes although nobody trusts the next CA: %s", why)
	}
	second, why := stepped(t, first, trusted, due)
	if why == "" || serial(second.current) != serial(first.next) {
		t.Fatalf("the next certificate does not take over: %q", why)
	}
	for what, p := range map[string]*pair{"what was served": first.current, "what is": second.current, "what will be": second.next} {
		if !trusts(second.trusted(), p) {
			t.Errorf("%s is not trusted", what)
		}
	}
	overlapped := due.Add(yearly.overlap())
	if _, why := stepped(t, second, trusted, overlapped.Add(-time.Second)); why != "" {
		t.Errorf("it changes within the overlap: %s", why)
	}
	third, why := stepped(t, second, trusted, overlapped)
	if why == "" || trusts(third.trusted(), first.current) || len(third.trusted()) != 2 {
		t.Errorf("%q: %d CAs are trusted after the overlap", why, len(third.trusted()))
	}
	if left := third.current.expires().Sub(overlapped); left < yearly.period() {
		t.Errorf("what is served has %s left at its beginning", left)
	}
}

// Another replica reads what one has written, and then has nothing to do.
func TestSecretIsReadAsWritten(t *testing.T) {
	s := begun(t, day)
	s.retire(day, issued(t, day).ca)
	again := yearly.read(written(t, s), day)
	if serial(again.current) != serial(s.current) || serial(again.next) != serial(s.next) || !again.rotated.Equal(day) ||
		len(again.retired) != 1 || !again.retired[0].Equal(s.retired[0]) {
		t.Errorf("another Secret is read: %+v", again)
	}
	if _, why := stepped(t, again, view{nextTrusted: true}, day.Add(time.Minute)); why != "" {
		t.Errorf("a replica changes it at once: %s", why)
	}
}

// Whatever happens to the Secret, a replica that has read it continues with the next certificate, which is already
// trusted. A replica that has just started keeps the CAs that are trusted.
func TestDamagedSecret(t *testing.T) {
	whole := begun(t, day)
	other := issued(t, day)
	now := day.Add(24 * time.Hour)
	damages := map[string]map[string][]byte{
		"deleted":                    nil,
		"another key":                {corev1.TLSPrivateKeyKey: other.key},
		"no certificate":             {corev1.TLSCertKey: nil},
		"no CAs":                     {caKey: nil},
		"another CA":                 {caKey: bundleOf(t, other.ca)},
		"a certificate that is none": {corev1.TLSCertKey: []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")},
	}
	for name, damage := range damages {
		data := written(t, whole)
		maps.Copy(data, damage)
		if damage == nil {
			data = nil
		}
		t.Run(name, func(t *testing.T) {
			s := yearly.read(data, now)
			after, why := stepped(t, s, view{lastGood: whole}, now)
			if why == "" || serial(after.current) != serial(whole.next) || !trusts(after.trusted(), whole.current) {
				t.Errorf("who holds it does not go on with the next certificate: %q", why)
			}
			after, why = stepped(t, s, view{trusted: whole.trusted()}, now)
			if why == "" || !trusts(after.trusted(), whole.current) || !trusts(after.trusted(), whole.next) {
				t.Errorf("who holds nothing takes trust away: %q", why)
			}
			if _, why := stepped(t, yearly.read(written(t, after), now), view{nextTrusted: true}, now.Add(time.Second)); why != "" {
				t.Errorf("it does not rest after that: %s", why)
			}
		})
	}
	for key, value := range map[string][]byte{nextCrt: nil, nextKey: other.key} {
		data := written(t, whole)
		data[key] = value
		after, why := stepped(t, yearly.read(data, now), view{lastGood: whole, nextTrusted: true}, now)
		if why == "" || serial(after.current) != serial(whole.current) || after.next == nil || !after.rotated.Equal(now) {
			t.Errorf("%s: what is served does not stay: %q", key, why)
		}
	}
	data := written(t, whole)
	data[rotatedKey] = []byte("yesterday")
	if after, why := stepped(t, yearly.read(data, now), view{nextTrusted: true}, now); why == "" || !after.rotated.Equal(now) {
		t.Errorf("without a date nothing is rotated: %q", why)
	}
}

func bundleOf(t *testing.T, cas ...*x509.Certificate) []byte {
	t.Helper()
	bundle, err := writeBundle(cas)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// However long grayscale was switched off, it serves at once, and rotates regularly after a few steps.
func TestSwitchedOff(t *testing.T) {
	for _, months := range []int{1, 3, 4, 6, 8, 10, 12, 15, 30} {
		t.Run(fmt.Sprintf("%d months", months), func(t *testing.T) {
			now := day.Add(time.Duration(months) * year / 12)
			s := yearly.read(written(t, begun(t, day)), now)
			for range 5 {
				after, why := stepped(t, s, view{nextTrusted: true}, now)
				if err := verify(after.current.serving.Leaf, after.trusted(), names[0], now); err != nil {
					t.Fatalf("what is served is not trusted: %v", err)
				}
				if why == "" {
					now = now.Add(yearly.requeueAfter(after, view{}, now))
				}
				s = yearly.read(written(t, after), now)
			}
			if left := s.current.expires().Sub(now); left < yearly.period()-6*time.Hour {
				t.Errorf("what is served has only %s left", left)
			}
		})
	}
}

func TestBundleHasAnEnd(t *testing.T) {
	s := begun(t, day)
	for n := range 40 {
		s, _ = stepped(t, contents{}, view{lastGood: s}, day.Add(time.Duration(n)*time.Second))
	}
	if got := len(s.trusted()); got != mostRetired+2 {
		t.Errorf("%d CAs are trusted after 40 deletions", got)
	}
}

// modelled is a cluster whose replicas see writes late and have different clocks.
type modelled struct {
	t        *rapid.T
	now      time.Time
	versions []map[string][]byte // of the Secret
	bundles  [][]*x509.Certificate
	replicas []*modelReplica
}

type modelReplica struct {
	skew         time.Duration
	secret, seen int // versions of the Secret and of the configurations that its watches have reached
	lastGood     contents
	since        time.Time
	served       *pair
}

// act makes one step of a replica, from what it has seen.
func (m *modelled) act(r *modelReplica) {
	now := m.now.Add(r.skew)
	data, bundle := m.versions[r.secret], m.bundles[r.seen]
	s := yearly.read(data, now)
	if !s.rotated.Equal(r.lastGood.rotated) {
		r.since = now
	}
	after, why, err := yearly.step(s, view{lastGood: r.lastGood, since: r.since, trusted: bundle, nextTrusted: s.next != nil && trusts(bundle, s.next)}, now)
	if err != nil {
		m.t.Fatal(err)
	}
	newest := r.secret == len(m.versions)-1
	if why != "" {
		if newest { // otherwise the API server refuses the write
			data, err := after.write()
			if err != nil {
				m.t.Fatal(err)
			}
			m.versions = append(m.versions, data)
		}
		return
	}
	r.lastGood = s
	if trusts(bundle, s.current) {
		r.served = s.current
	}
	if written := bundleOfModel(m.t, bundle); newest && r.seen == len(m.bundles)-1 && !bytes.Equal(written, data[caKey]) {
		m.bundles = append(m.bundles, readBundle(data[caKey]))
	}
}

func bundleOfModel(t *rapid.T, cas []*x509.Certificate) []byte {
	bundle, err := writeBundle(cas)
	if err != nil {
		t.Fatal(err)
	}
	return bundle
}

// Several replicas run for years with clocks up to a month apart, while the Secret is deleted and damaged. What each of
// them serves is always trusted. Watches may be any number of writes behind, but catch up before much time passes.
func TestWhatIsServedIsTrusted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &modelled{t: t, now: day, versions: []map[string][]byte{nil}, bundles: [][]*x509.Certificate{nil}}
		for range rapid.IntRange(1, 4).Draw(t, "replicas") {
			m.replicas = append(m.replicas, &modelReplica{skew: time.Duration(rapid.IntRange(-15, 15).Draw(t, "days of skew")) * 24 * time.Hour})
		}
		m.rest()
		t.Repeat(map[string]func(*rapid.T){
			"time": func(t *rapid.T) {
				m.rest()
				m.now = m.now.Add(rapid.SampledFrom([]time.Duration{2 * time.Hour, 40 * 24 * time.Hour, 60 * 24 * time.Hour}).Draw(t, "time"))
			},
			"act": func(t *rapid.T) {
				r := rapid.SampledFrom(m.replicas).Draw(t, "replica")
				r.secret = min(r.secret+rapid.IntRange(0, 2).Draw(t, "of the Secret"), len(m.versions)-1)
				r.seen = min(r.seen+rapid.IntRange(0, 2).Draw(t, "of the bundle"), len(m.bundles)-1)
				m.act(r)
			},
			"restart": func(t *rapid.T) { m.restart(rapid.SampledFrom(m.replicas).Draw(t, "replica")) },
			"damage": func(t *rapid.T) {
				m.damage(rapid.SampledFrom([]string{"all", caKey, corev1.TLSCertKey, nextKey}).Draw(t, "what"))
			},
			"": func(*rapid.T) { m.check() },
		})
	})
}

// rest makes all replicas see everything and act until nothing changes.
func (m *modelled) rest() {
	for range 30 {
		versions, bundles := len(m.versions), len(m.bundles)
		for _, r := range m.replicas {
			r.secret, r.seen = len(m.versions)-1, len(m.bundles)-1
			m.act(r)
		}
		if versions == len(m.versions) && bundles == len(m.bundles) {
			return
		}
	}
	m.t.Fatal("it does not come to rest")
}

func (m *modelled) restart(r *modelReplica) {
	r.lastGood, r.served, r.secret, r.seen = contents{}, nil, len(m.versions)-1, len(m.bundles)-1
}

// damage is a rare event, so everything is at rest before it.
func (m *modelled) damage(what string) {
	m.rest()
	data := maps.Clone(m.versions[len(m.versions)-1])
	data[what] = nil
	if what == "all" {
		data = nil
	}
	m.versions = append(m.versions, data)
}

func (m *modelled) check() {
	trusted := m.bundles[len(m.bundles)-1]
	for i, r := range m.replicas {
		if r.served == nil {
			continue
		}
		if err := verify(r.served.serving.Leaf, trusted, names[0], m.now); err != nil {
			m.t.Fatalf("replica %d serves what is not trusted: %v", i, err)
		}
	}
}
