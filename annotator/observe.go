package annotator

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// sight is what observe saw: the facts, and the cached Deployments that they come from, by name. act needs those for
// their resourceVersions and times, and changes none of them.
type sight struct {
	facts       routing.Facts
	deployments map[string]*appsv1.Deployment
}

// observe gathers everything that the caches know about one Service, and since when, and about its siblings, where it has some.
// A key without a name stands for the Deployments of the namespace that lead to no Service.
func (r *reconciler) observe(key types.NamespacedName) sight {
	s := r.observeOne(key)
	for _, sibling := range r.store.siblings(key) {
		if _, there := r.store.service(sibling.Namespace, sibling.Name); there {
			s.facts.Beside = append(s.facts.Beside, r.observeOne(sibling).facts)
		}
	}
	return s
}

func (r *reconciler) observeOne(key types.NamespacedName) sight {
	now := r.now().UTC()
	s := r.store.gather(key, func(known []*corev1.Pod) map[types.UID]time.Time { return r.memory.watched(key, now, known) })
	s.facts.Now = now
	if !s.facts.IstioMissing && !s.facts.Service.Missing {
		s.facts.RoutesSince = r.since(key, kindVirtualService, versionOf(s.facts.VirtualService), now)
		s.facts.RuleSince = r.since(key, kindDestinationRule, versionOf(s.facts.DestinationRule), now)
		s.facts.OtherRulesSince = r.memory.othersSince(key, versionsOf(s.facts.OtherDestinationRules), now)
	}
	return s
}

// gather is observe but for times. watched tells since when pods have been seen ready; nil where that does not matter.
func (c *Caches) gather(key types.NamespacedName, watched func([]*corev1.Pod) map[types.UID]time.Time) sight {
	s := sight{deployments: map[string]*appsv1.Deployment{}}
	s.facts.Service = release.Service{Namespace: key.Namespace, Name: key.Name, Missing: true}
	if svc, ok := c.service(key.Namespace, key.Name); ok {
		s.facts.Service = cluster.Service(svc)
	}
	s.facts.Seen = c.seen(key.Namespace)
	var known []*corev1.Pod
	pods := map[string][]*corev1.Pod{}
	for _, d := range c.behind(key, s.facts.Service) {
		s.deployments[d.Name] = d
		pods[d.Name] = c.podsOf(d)
		known = append(known, pods[d.Name]...)
		s.facts.Newest = newer(s.facts.Newest, d.ResourceVersion)
	}
	var ready map[types.UID]time.Time
	if watched != nil {
		ready = watched(known)
	}
	for _, name := range slices.Sorted(maps.Keys(s.deployments)) {
		one := cluster.Deployment(s.deployments[name])
		one.Pods = count(pods[name], s.facts.Service.Selector, ready)
		s.facts.Deployments = append(s.facts.Deployments, one)
	}
	s.facts.Services = c.others(key, s.deployments)
	strays := c.strays(s)
	s.facts.Strays, s.facts.Workloads = count(strays, s.facts.Service.Selector, nil), workloads(strays)
	routes := c.routes.Load()
	s.facts.IstioMissing = routes == nil
	if routes != nil && !s.facts.Service.Missing {
		routes.observe(&s.facts, c.domain)
		s.facts.MeshRoutes = c.MeshRoutes(key.Namespace, key.Name)
	}
	return s
}

// since is when the mesh could first learn of a derived object as it is: later than we did where it was cut off.
func (r *reconciler) since(key types.NamespacedName, kind, version string, now time.Time) time.Time {
	known := r.memory.since(key, kind, version, now)
	if back := r.outages.back(); !back.IsZero() && known.Before(now.Add(time.Until(back))) {
		return now.Add(time.Until(back))
	}
	return known
}

// versionsOf tells one set of rules from another.
func versionsOf(rules []*networkingv1.DestinationRule) string {
	var out strings.Builder
	for _, o := range rules {
		out.WriteString(string(o.UID) + "@" + o.ResourceVersion + " ")
	}
	return out.String()
}

// newer is the later of two resourceVersions.
func newer(a, b string) string {
	if order, err := resourceversion.CompareResourceVersion(a, b); a == "" || err == nil && order < 0 {
		return b
	}
	return a
}

// behind are the Deployments that name the Service and those whose pods it selects, sorted by name.
func (c *Caches) behind(key types.NamespacedName, s release.Service) []*appsv1.Deployment {
	found := map[string]*appsv1.Deployment{}
	for _, d := range c.matching(byLabel, key.Namespace, s.Selector) {
		found[d.Name] = d
	}
	for _, d := range c.deployments.under(byNaming, key.String()) {
		found[d.Name] = d
	}
	if key.Name == "" {
		for _, d := range c.deployments.under(byConcern, key.Namespace+"/") {
			if c.homes(d)[0] == "" {
				found[d.Name] = d
			}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b *appsv1.Deployment) int { return strings.Compare(a.Name, b.Name) })
}

// others are the other Services that select the Deployments' pods or that these name, sorted by name.
func (c *Caches) others(key types.NamespacedName, deployments map[string]*appsv1.Deployment) []release.Service {
	found := map[string]*corev1.Service{}
	for _, d := range deployments {
		for _, name := range c.homes(d) {
			if svc, ok := c.service(key.Namespace, name); ok && name != key.Name {
				found[name] = svc
			}
		}
	}
	return plain(slices.SortedFunc(maps.Values(found), func(a, b *corev1.Service) int { return strings.Compare(a.Name, b.Name) }))
}

// strays are the pods that the Service selects and that none of its Deployments has.
func (c *Caches) strays(s sight) []*corev1.Pod {
	service := s.facts.Service
	pods := c.podsSelected(service.Namespace, service.Selector)
	return slices.DeleteFunc(pods, func(p *corev1.Pod) bool {
		for _, d := range s.deployments {
			if ownerKey(p) == cutName(d.Name) && (d.Spec.Selector == nil || matches(d.Spec.Selector.MatchLabels, p.Labels)) {
				return true
			}
		}
		return false
	})
}

// workloads are the owners of pods that no Deployment has or had, sorted.
func workloads(pods []*corev1.Pod) []routing.Workload {
	var out []routing.Workload
	for _, p := range pods {
		if over(p) || p.DeletionTimestamp != nil || ownerKey(p) != "" {
			continue
		}
		w := routing.Workload{Kind: "Pod", Name: p.Name, Version: p.Labels[release.VersionLabel]}
		if len(p.OwnerReferences) > 0 {
			w.Kind, w.Name = p.OwnerReferences[0].Kind, p.OwnerReferences[0].Name
		}
		out = append(out, w)
	}
	slices.SortFunc(out, func(a, b routing.Workload) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	return slices.Compact(out)
}

// over: the pod has ended for good; an evicted one stays until it is collected.
func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// count sums pods up by version label, sorted by version. Those that have ended are no pods of a release any more. watched is since when each has been seen ready; long ago where it is
// not in it.
func count(pods []*corev1.Pod, selector map[string]string, watched map[types.UID]time.Time) []release.Pods {
	sums := map[string]release.Pods{}
	for _, p := range pods {
		if over(p) {
			continue
		}
		sum := sums[p.Labels[release.VersionLabel]]
		sum.Version = p.Labels[release.VersionLabel]
		sum.Total++
		if ready(p) && matches(selector, p.Labels) {
			sum.Ready++
			if since := watched[p.UID]; sum.Ready == 1 || since.Before(sum.Since) {
				sum.Since = since
			}
		}
		sums[sum.Version] = sum
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b release.Pods) int { return strings.Compare(a.Version, b.Version) })
}

// ready: the pod serves. A terminating one is out of its Service's endpoints, whatever its condition still says.
func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil
		}
	}
	return false
}

// changed is when the pod last became ready or unready, by the clock of its node, in whole seconds.
func changed(p *corev1.Pod) time.Time {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.LastTransitionTime.Time
		}
	}
	return time.Time{}
}

// observe adds the derived objects, and whoever else names the Service's host, itself or with a wildcard.
func (r *routes) observe(f *routing.Facts, domain string) {
	derived := derivedKey(types.NamespacedName{Namespace: f.Service.Namespace, Name: f.Service.Name})
	f.VirtualService, _ = r.virtualServices.get(derived)
	f.DestinationRule, _ = r.destinationRules.get(derived)
	host := istio.Host(f.Service, domain)
	f.OtherVirtualServices = others(r.virtualServices, host, derived)
	f.OtherDestinationRules = others(r.destinationRules, host, derived)
}

func others[T kept](from *shelf[T], host, derived string) []T {
	var out []T
	for _, key := range []string{host, wildcard} {
		for _, o := range from.underBut(derived, byHost, key) {
			same := func(seen T) bool { return seen.GetUID() == o.GetUID() }
			if !slices.ContainsFunc(out, same) {
				out = append(out, o)
			}
		}
	}
	slices.SortFunc(out, func(a, b T) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	return out
}
