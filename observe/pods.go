package observe

import (
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/release"
)

// count sums pods up by version label, sorted by version. Pods that have ended do not count. watched is since when each
// has been seen ready; long ago where it is not in it.
func count(pods []*corev1.Pod, selector map[string]string, watched map[types.UID]time.Time) []release.Pods {
	sums := map[string]release.Pods{}
	for _, p := range pods {
		if ended(p) {
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
