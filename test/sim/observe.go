package sim

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// view is what facts were made from: the objects, and how far the watch of pods had come.
type view struct {
	deployments     []*deployment
	virtualService  *virtualService
	destinationRule *destinationRule
	pods            time.Duration
	beside          map[string]*virtualService
}

// observe gathers what the replica's cache knows about the Service, and about the other one that selects the same pods.
func (r *key) observe() (routing.Facts, view) {
	r.vouch()
	f, v := r.gather()
	for _, k := range r.keys {
		if _, there := get[*kubeService](r.cache.tables[services], k.service); k != r && there && r.together() {
			k.vouch()
			b, seen := k.gather()
			f.Beside = append(f.Beside, b)
			v.beside[k.service] = seen.virtualService
		}
	}
	return f, v
}

// together: a Deployment that carries anything of grayscale's is behind both Services.
func (r *replica) together() bool {
	return slices.ContainsFunc(r.cache.tables[deployments], func(o object) bool {
		d := o.(*deployment)
		return d.app == app && (len(d.annotations) > 0 || len(d.conditions) > 0)
	})
}

// gather is observe without a note of what was seen: admission does not take one.
func (r *key) gather() (routing.Facts, view) {
	f := routing.Facts{Now: r.now(), IstioMissing: !r.w.api.served}
	f.RoutesSince, f.RuleSince = begin.Add(r.since[virtualServices]+r.clock), begin.Add(r.since[destinationRules]+r.clock)
	v := view{pods: r.cache.watches[pods].upTo(), beside: map[string]*virtualService{}}
	f.Service = release.Service{Namespace: namespace, Name: r.service, Missing: true}
	for _, o := range r.cache.tables[services] {
		switch svc := o.(*kubeService); {
		case svc.name == r.service:
			f.Service = svc.seen()
		case svc.app == app:
			f.Services = append(f.Services, svc.seen())
		}
	}
	for _, o := range r.cache.tables[deployments] {
		d := o.(*deployment)
		if !release.Behind(f.Service, d.seen()) && !slices.Contains(intent.Services(d.annotations), r.service) {
			continue
		}
		v.deployments = append(v.deployments, d)
	}
	f.Seen = strconv.FormatInt(r.cache.watches[deployments].version, 10)
	newest := int64(0)
	for _, d := range v.deployments {
		newest = max(newest, d.version)
	}
	f.Newest = strconv.FormatInt(newest, 10)
	slices.SortFunc(v.deployments, func(a, b *deployment) int { return cmp.Compare(a.name, b.name) })
	for _, d := range v.deployments {
		one := d.seen()
		one.Pods = r.count(func(p *pod) bool { return p.deployment == d.name })
		f.Deployments = append(f.Deployments, one)
	}
	f.Strays = r.count(func(p *pod) bool {
		return p.app == app && !slices.ContainsFunc(v.deployments, func(d *deployment) bool { return d.name == p.deployment })
	})
	if f.IstioMissing || f.Service.Missing {
		return f, v
	}
	if vs, ok := get[*virtualService](r.cache.tables[virtualServices], istio.Name(r.service)); ok {
		v.virtualService, f.VirtualService = vs, vs.spec
	}
	if dr, ok := get[*destinationRule](r.cache.tables[destinationRules], istio.Name(r.service)); ok {
		v.destinationRule, f.DestinationRule = dr, dr.spec
	}
	f.OtherDestinationRules = r.rules("")
	if versions := strings.Join(versionsOf(f.OtherDestinationRules), " "); versions != r.others {
		r.others, r.othersSince = versions, r.w.now
	}
	f.OtherRulesSince = begin.Add(r.othersSince + r.clock)
	return f, v
}

// count sums pods up by version.
func (r *replica) count(which func(*pod) bool) []release.Pods {
	var out []release.Pods
	for _, o := range r.cache.tables[pods] {
		p := o.(*pod)
		if !which(p) {
			continue
		}
		i := slices.IndexFunc(out, func(x release.Pods) bool { return x.Version == p.label })
		if i < 0 {
			i = len(out)
			out = append(out, release.Pods{Version: p.label})
		}
		out[i].Total++
		if !p.serves() {
			continue
		}
		out[i].Ready++
		if since := begin.Add(r.seen[p.name] + r.clock); out[i].Ready == 1 || since.Before(out[i].Since) {
			out[i].Since = since
		}
	}
	slices.SortFunc(out, func(a, b release.Pods) int { return cmp.Compare(a.Version, b.Version) })
	return out
}

// vouch moves the one's since where a derived object is not as this process wrote it in time, or as it was when since was moved last.
func (r *key) vouch() {
	for _, k := range []kind{virtualServices, destinationRules} {
		version := int64(0)
		if o := find(r.cache.tables[k], istio.Name(r.service)); o != nil {
			version = o.id().version
		}
		if version != r.vouched[k] {
			r.vouched[k], r.since[k] = version, r.w.now
		}
	}
}
