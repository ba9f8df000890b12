package sim

import (
	"maps"
	"slices"
	"strings"
	"time"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/mesh"
)

// clientsNamespaces are those of the Envoys, one after the other.
var clientsNamespaces = []string{"bank", namespace, "tax"}

// foreignRules are other people's DestinationRules for the Service: what each says beside the host, by namespace/name.
var foreignRules = map[string][]string{
	"bank/theirs":           {"."},
	namespace + "/private":  {"."},
	namespace + "/for-bank": {"bank"},
	namespace + "/public":   {"*"},
	namespace + "/a-public": {"*"}, // older than ours where both are of one second
	namespace + "/merged":   nil,
}

// hide creates or changes a rule, or deletes it where the act says so, once the door has been asked.
func (w *world) foreign(a Act) {
	old, there := get[*destinationRule](w.api.list(destinationRules), a.Key)
	var next *destinationRule
	switch {
	case a.Do == reveal && !there, a.Do == hide && !w.api.served:
		return
	case a.Do == hide && there:
		next = &destinationRule{identity: old.identity, spec: old.spec.DeepCopy()}
	case a.Do == hide:
		ns, name, _ := strings.Cut(a.Key, "/")
		id := identity{kind: destinationRules, name: a.Key, created: w.now}
		next = &destinationRule{identity: id, spec: &networkingv1.DestinationRule{ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: name, CreationTimestamp: metav1.NewTime(begin.Add(w.now.Truncate(time.Second)))}}}
		next.spec.Spec.Host = istio.Host((&kubeService{identity: identity{name: service}}).seen(), domain)
		next.spec.Spec.ExportTo = foreignRules[a.Key]
	}
	stored := w.foreignWrites
	store := func(asked bool) {
		asked = asked && stored == w.foreignWrites // of two at once, each is answered as if there were only the one
		w.foreignWrites++
		switch _, still := get[*destinationRule](w.api.list(destinationRules), a.Key); {
		case next == nil:
			_ = w.api.remove(kubectl, destinationRules, a.Key, 0)
		case !still && !there:
			_ = w.api.create(kubectl, next)
		case still && there:
			_ = w.api.update(kubectl, next, 0)
		default:
			return
		}
		w.judge.book(service).foreign(asked)
	}
	w.precedes(specOf(old), specOf(next), store)
}

func specOf(dr *destinationRule) *networkingv1.DestinationRule {
	if dr == nil {
		return nil
	}
	return dr.spec
}

// derived tells grayscale's objects by their names.
func derived(name string) bool { return strings.HasSuffix(name, "-grayscale") }

// seesOurs is istiod's lookup, told without the engine: whether clients of a namespace are shown our subsets. The
// rules of the client's own namespace come first; of the Service's, those with one exportTo are one rule, and the
// youngest counts.
func seesOurs(table []object, of, client string) bool {
	var rules []*networkingv1.DestinationRule
	for _, o := range table {
		dr := o.(*destinationRule).spec
		if derived(o.id().name) && o.id().name != mesh.Name(of) || !derived(o.id().name) && of != service {
			continue
		}
		to := dr.Spec.ExportTo
		switch at, home := dr.Namespace, dr.Namespace == client; {
		case client != namespace && home:
			return false
		case at != namespace, home && slices.Equal(to, []string{"bank"}), !home && slices.Equal(to, []string{"."}):
		default:
			rules = append(rules, dr)
		}
	}
	slices.SortFunc(rules, func(a, b *networkingv1.DestinationRule) int {
		if c := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	type merged struct {
		exportTo string
		ours     bool
	}
	var list []*merged
	for _, r := range rules {
		apart, next := true, merged{strings.Join(r.Spec.ExportTo, ","), r.Name == mesh.Name(of)}
		for _, m := range list {
			if apart = m.exportTo != next.exportTo; !apart {
				m.ours = m.ours || next.ours
			}
		}
		if apart {
			list = append(list, &next)
		}
	}
	visible := slices.DeleteFunc(list, func(m *merged) bool { // only now, so that others decide who is merged with whom
		return client != namespace && m.exportTo == "bank" && client != "bank"
	})
	return len(visible) > 0 && visible[len(visible)-1].ours
}

// routesFor reads a VirtualService as istiod does for clients of a namespace: of each port the first route that
// matches.
func routesFor(vs *networkingv1.VirtualService, client string) []route {
	mine := &networkingv1.VirtualService{}
	done := map[uint32]bool{}
	take := func(port uint32, from string) bool {
		if from != "" && from != client || done[port] {
			return false
		}
		done[port] = true
		return true
	}
	for _, h := range vs.Spec.Http {
		matches := func(m *v1alpha3.HTTPMatchRequest) bool { return take(m.Port, m.SourceNamespace) }
		if len(h.Match) == 0 && take(0, "") || slices.ContainsFunc(h.Match, matches) {
			mine.Spec.Http = append(mine.Spec.Http, h)
		}
	}
	done = map[uint32]bool{}
	for _, t := range vs.Spec.Tcp {
		matches := func(m *v1alpha3.L4MatchAttributes) bool { return take(m.Port, m.SourceNamespace) }
		if len(t.Match) == 0 && take(0, "") || slices.ContainsFunc(t.Match, matches) {
			mine.Spec.Tcp = append(mine.Spec.Tcp, t)
		}
	}
	return routesOf(mine)
}

// splitOf are the routes of a VirtualService that lead to subsets.
func splitOf(vs *networkingv1.VirtualService) []route {
	return slices.DeleteFunc(routesOf(vs), func(r route) bool { return r.subset == "" })
}

// foreign notes for which clients somebody else's write took the subsets away before the routes led them past these,
// because the door was not asked. asked says that it was, and has done its part.
func (j *book) foreign(asked bool) {
	vs, routed := get[*virtualService](j.w.api.list(virtualServices), mesh.Name(j.service))
	for _, e := range j.w.envoys {
		blind := !seesOurs(j.w.api.list(destinationRules), j.service, e.namespace)
		if blind && (!asked || !routed) {
			j.surprise(e.namespace)
		}
	}
	if routed {
		j.led(vs.spec)
	}
}

// surprise: until the routes lead these clients past the subsets, and that has been served, they may lose requests.
func (j *book) surprise(client string) {
	if j.surprised == nil {
		j.surprised = map[string]time.Duration{}
	}
	j.surprised[client] = -1
}

// pinnedBeside: the first routes are written by who did not know of a rule yet.
func (j *book) pinnedBeside(old *virtualService) {
	if old != nil {
		return
	}
	for _, e := range j.w.envoys {
		known := j.deciding.replica.cache.tables[destinationRules]
		if seesOurs(known, j.service, e.namespace) && !seesOurs(j.w.api.list(destinationRules), j.service, e.namespace) {
			j.surprise(e.namespace)
		}
	}
}

// led: routes that lead surprised clients past the subsets end their surprise, once they have been served.
func (j *book) led(vs *networkingv1.VirtualService) {
	for client := range maps.Clone(j.surprised) {
		named := slices.ContainsFunc(routesFor(vs, client), func(r route) bool { return r.subset != "" })
		if j.surprised[client] < 0 && (!named || seesOurs(j.w.api.list(destinationRules), j.service, client)) {
			j.surprised[client] = j.w.now
		}
	}
}

// exemptSurprise: somebody's rule hid the subsets from these clients without the API server asking first. That costs
// what is sent until the routes have followed, and nothing after it.
func (j *book) exemptSurprise(client string) bool {
	since, surprised := j.surprised[client]
	return surprised && (since < 0 || j.w.now <= since+slowest)
}

// hidden: somebody else's rule is there.
func (j *judge) hidden() bool {
	return slices.ContainsFunc(j.w.api.list(destinationRules), func(o object) bool { return !derived(o.id().name) })
}

// blindAnywhere: some clients are not shown our subsets.
func (j *book) blindAnywhere() bool {
	return slices.ContainsFunc(clientsNamespaces, func(client string) bool {
		return !seesOurs(j.w.api.list(destinationRules), j.service, client)
	})
}

// finalForeign is part of oracle (d): clients that are not shown our subsets are led past these, and no others are.
func (j *book) finalForeign(vs *networkingv1.VirtualService) {
	for _, client := range clientsNamespaces {
		blind := !seesOurs(j.w.api.list(destinationRules), j.service, client)
		past := slices.ContainsFunc(routesFor(vs, client), func(r route) bool { return r.subset == "" })
		if blind != past && (blind || !j.everybody()) {
			j.w.fail("d", "clients in namespace %s: they lack the subsets: %t, they are led past them: %t", client, blind, past)
		}
	}
}

func (j *book) everybody() bool {
	return !seesOurs(j.w.api.list(destinationRules), j.service, "elsewhere")
}
