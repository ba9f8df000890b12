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
}

// observe gathers what the replica's cache knows about the Service.
func (r *replica) observe() (routing.Facts, view) {
	r.vouch()
	return r.gather()
}

// gather is observe without a note of what was seen: admission does not take one.
func (r *replica) gather() (routing.Facts, view) {
	f := routing.Facts{Now: r.now(), RoutesSince: begin.Add(r.since[virtualServices] + r.clock),
		RuleSince: begin.Add(r.since[destinationRules] + r.clock), IstioMissing: !r.w.api.served}
	v := view{pods: r.cache.watches[pods].upTo()}
	f.Service = release.Service{Namespace: namespace, Name: service, Missing: true}
	if svc, ok := get[*kubeService](r.cache.tables[services], service); ok {
		f.Service = svc.seen()
	}
	for _, o := range r.cache.tables[deployments] {
		d := o.(*deployment)
		if !release.Behind(f.Service, d.seen()) && d.annotations[intent.KeyService] != service {
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
	if vs, ok := get[*virtualService](r.cache.tables[virtualServices], istio.Name(service)); ok {
		v.virtualService, f.VirtualService = vs, vs.spec
	}
	if dr, ok := get[*destinationRule](r.cache.tables[destinationRules], istio.Name(service)); ok {
		v.destinationRule, f.DestinationRule = dr, dr.spec
	}
	f.OtherDestinationRules = r.rules(istio.Name(service))
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
func (r *replica) vouch() {
	for _, k := range []kind{virtualServices, destinationRules} {
		version := int64(0)
		if o := find(r.cache.tables[k], istio.Name(service)); o != nil {
			version = o.id().version
		}
		if version != r.vouched[k] {
			r.vouched[k], r.since[k] = version, r.w.now
		}
	}
}
