package observe

import (
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/release"
)

// Pod is what is read of a pod. There may be a thousand behind one Service, and each decision reads them all. So it is
// small, and all readers share it.
type Pod struct {
	Namespace, Name string
	UID             types.UID
	Labels          Labels
	// OwnerKind and OwnerName identify the controller that owns it; empty where none does.
	OwnerKind, OwnerName string
	// Deployment is the name, cut by cutName, of the Deployment whose ReplicaSet owns it; empty for all other pods.
	Deployment string
	// Ready: the pod serves. A terminating pod does not: its Service's endpoints lack it, whatever its condition says.
	Ready bool
	// Changed is when it last became ready or unready, by the clock of its node, in whole seconds.
	Changed time.Time
	// Ended: the pod has succeeded or failed. An evicted pod stays like that until it is collected.
	Ended bool
	// Deleting is true from the deletionTimestamp on.
	Deleting bool
}

// PodOf reads a pod.
func PodOf(p *corev1.Pod) *Pod {
	out := &Pod{Namespace: intern(p.Namespace), Name: p.Name, UID: p.UID, Labels: labelList(p.Labels),
		Deleting: p.DeletionTimestamp != nil,
		Ended:    p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed}
	for i := range out.Labels {
		out.Labels[i].key = intern(out.Labels[i].key)
	}
	if owner := metav1.GetControllerOfNoCopy(p); owner != nil {
		out.OwnerKind, out.OwnerName = intern(owner.Kind), owner.Name
		out.Deployment = deploymentOf(owner, p.Labels[appsv1.DefaultDeploymentUniqueLabelKey])
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			out.Ready, out.Changed = c.Status == corev1.ConditionTrue && !out.Deleting, c.LastTransitionTime.Time
		}
	}
	return out
}

// maxOwner is how many characters of a long Deployment's name are in its ReplicaSets' names at least: 253, less a dash
// and a hash of at most 10 (k8s.io/kubernetes pkg/controller/deployment/sync.go, generateReplicaSetName).
const maxOwner = 242

func cutName(deployment string) string { return deployment[:min(len(deployment), maxOwner)] }

// deploymentOf names the Deployment of a pod without reading ReplicaSets: the Deployment controller names them
// "<deployment>-<hash>" and labels their pods with the hash.
func deploymentOf(owner *metav1.OwnerReference, hash string) string {
	name, ok := strings.CutSuffix(owner.Name, "-"+hash)
	if !ok || hash == "" || owner.Kind != "ReplicaSet" {
		return ""
	}
	return cutName(name)
}

// count sums pods up by version label, sorted by version. Pods that have ended do not count. watched is since when each
// pod has been seen ready; a pod that is not in it became ready long ago.
func count(pods []*Pod, selector map[string]string, watched map[types.UID]time.Time) []release.Pods {
	var sums []release.Pods
	serving := labelList(selector)
	for _, p := range pods {
		if p.Ended {
			continue
		}
		version := p.Labels.get(release.VersionLabel)
		i := slices.IndexFunc(sums, func(s release.Pods) bool { return s.Version == version })
		if i < 0 {
			i, sums = len(sums), append(sums, release.Pods{Version: version})
		}
		sum := &sums[i]
		sum.Total++
		if p.Ready && serving.match(p.Labels) {
			sum.Ready++
			if since := watched[p.UID]; sum.Ready == 1 || since.Before(sum.Since) {
				sum.Since = since
			}
		}
	}
	slices.SortFunc(sums, func(a, b release.Pods) int { return strings.Compare(a.Version, b.Version) })
	return sums
}
