package observe

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/release"
)

// PodGroup is a number of pods that are alike in all that facts are made from, but for the times.
type PodGroup struct {
	Pod   *corev1.Pod // one of them
	Count int
}

// PodGrouper is a Reader that has pods in groups, without a look at each. Facts without times are made from these.
type PodGrouper interface {
	// GroupPods are the pods that an index has under a key, in any order.
	GroupPods(by PodIndex, key string) []PodGroup
}

// GroupPods puts pods that are alike into groups.
func GroupPods(pods []*corev1.Pod) []PodGroup {
	var out []PodGroup
	places := map[string]int{}
	for _, p := range pods {
		alike := likeness(p)
		i, known := places[alike]
		if !known {
			i = len(out)
			places[alike] = i
			out = append(out, PodGroup{Pod: p})
		}
		out[i].Count++
	}
	return out
}

// likeness is a text that is the same for pods that are alike.
func likeness(p *corev1.Pod) string {
	var out strings.Builder
	fmt.Fprint(&out, p.Namespace, ended(p), ready(p), p.DeletionTimestamp != nil)
	if len(p.OwnerReferences) == 0 {
		fmt.Fprintf(&out, "%q", p.Name)
	} else {
		fmt.Fprintf(&out, "%q%q", p.OwnerReferences[0].Kind, p.OwnerReferences[0].Name)
	}
	for _, key := range slices.Sorted(maps.Keys(p.Labels)) {
		fmt.Fprintf(&out, "%q%q", key, p.Labels[key])
	}
	return out.String()
}

// podLister lists the pods that an index has under a key.
type podLister func(by PodIndex, key string) []PodGroup

// podsFrom lists groups where nobody asks for times, and else each pod.
func podsFrom(r Reader, at Moment) podLister {
	if grouper, ok := r.(PodGrouper); ok && at.FirstSeen == nil {
		return grouper.GroupPods
	}
	return func(by PodIndex, key string) []PodGroup {
		var out []PodGroup
		for _, p := range r.ListPods(by, key) {
			out = append(out, PodGroup{p, 1})
		}
		return out
	}
}

// count sums pods up by version label, sorted by version. Pods that have ended do not count. watched is since when each
// has been seen ready; long ago where it is not in it.
func count(pods []PodGroup, selector map[string]string, watched map[types.UID]time.Time) []release.Pods {
	sums := map[string]release.Pods{}
	for _, g := range pods {
		p := g.Pod
		if ended(p) {
			continue
		}
		sum := sums[p.Labels[release.VersionLabel]]
		sum.Version = p.Labels[release.VersionLabel]
		sum.Total += g.Count
		if ready(p) && matches(selector, p.Labels) {
			if since := watched[p.UID]; sum.Ready == 0 || since.Before(sum.Since) {
				sum.Since = since
			}
			sum.Ready += g.Count
		}
		sums[sum.Version] = sum
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b release.Pods) int {
		return strings.Compare(a.Version, b.Version)
	})
}

// ended: the pod has ended for good. An evicted one stays until it is collected.
func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
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
