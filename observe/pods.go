package observe

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unique"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/release"
)

// Pod is what is read of a pod. There may be a thousand behind one Service, and each decision reads them all: so a pod
// is small, and all who read it share it.
type Pod struct {
	Name string
	UID  types.UID
	// Changed is when it last became ready or unready, by the clock of its node, in whole seconds.
	Changed time.Time
	// state is one copy for all pods in it, so that they are put into groups without a look into it.
	state unique.Handle[podState]
}

// podState is what the pods of a ReplicaSet have in common.
type podState struct {
	namespace string
	labels    string // as joined writes them
	// ownerKind and ownerName are those of the controller that owns the pod; empty where none does.
	ownerKind, ownerName string
	// deployment is the one whose ReplicaSet owns it, with its name cut as cutName does; empty for pods of anything else.
	deployment string
	// ready: the pod serves. A terminating one is out of its Service's endpoints, whatever its condition still says.
	ready bool
	// ended: it has ended for good. An evicted one stays until it is collected.
	ended bool
	// deleting is true from the deletionTimestamp on.
	deleting bool
}

// PodOf is what is read of a pod.
func PodOf(p *corev1.Pod) *Pod {
	out := &Pod{Name: p.Name, UID: p.UID}
	state := podState{namespace: p.Namespace, labels: joined(p.Labels), deleting: p.DeletionTimestamp != nil,
		ended: p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed}
	if owner := metav1.GetControllerOfNoCopy(p); owner != nil {
		state.ownerKind, state.ownerName = owner.Kind, owner.Name
		state.deployment = deploymentOf(owner, p.Labels[appsv1.DefaultDeploymentUniqueLabelKey])
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			state.ready = c.Status == corev1.ConditionTrue && !state.deleting
			out.Changed = c.LastTransitionTime.Time
		}
	}
	out.state = unique.Make(state)
	return out
}

// joined writes labels as one text, sorted by key: "app=web,version=v1". Neither sign may be in a label
// (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set).
func joined(labels map[string]string) string {
	list := make([]string, 0, len(labels))
	for k, v := range labels {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// split reads what joined has written.
func split(labels string) map[string]string {
	out := map[string]string{}
	for text := range strings.SplitSeq(labels, ",") {
		if k, v, ok := strings.Cut(text, "="); ok {
			out[k] = v
		}
	}
	return out
}

// podGroup are pods in one state.
type podGroup struct {
	podState
	labels map[string]string
	pods   []*Pod
}

// grouped puts pods into groups.
func grouped(pods []*Pod) []podGroup {
	var out []podGroup
	known := map[unique.Handle[podState]]int{}
	for _, p := range pods {
		i, ok := known[p.state]
		if !ok {
			i = len(out)
			known[p.state] = i
			state := p.state.Value()
			out = append(out, podGroup{podState: state, labels: split(state.labels)})
		}
		out[i].pods = append(out[i].pods, p)
	}
	return out
}

// maxOwner is shorter than the shortest a ReplicaSet's name can cut its Deployment's to: 253 characters less a dash and
// a hash of at most 10 (k8s.io/kubernetes pkg/controller/deployment/sync.go, generateReplicaSetName).
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
// has been seen ready; long ago where it is not in it.
func count(groups []podGroup, selector map[string]string, watched map[types.UID]time.Time) []release.Pods {
	sums := map[string]release.Pods{}
	for _, g := range groups {
		if g.ended {
			continue
		}
		sum := sums[g.labels[release.VersionLabel]]
		sum.Version = g.labels[release.VersionLabel]
		sum.Total += len(g.pods)
		if g.ready && matches(selector, g.labels) {
			if since := longestWatched(g.pods, watched); sum.Ready == 0 || since.Before(sum.Since) {
				sum.Since = since
			}
			sum.Ready += len(g.pods)
		}
		sums[sum.Version] = sum
	}
	return slices.SortedFunc(maps.Values(sums), func(a, b release.Pods) int {
		return strings.Compare(a.Version, b.Version)
	})
}

// longestWatched is since when the first of the pods has been seen ready.
func longestWatched(pods []*Pod, watched map[types.UID]time.Time) time.Time {
	if len(watched) == 0 {
		return time.Time{}
	}
	out := watched[pods[0].UID]
	for _, p := range pods[1:] {
		if since := watched[p.UID]; since.Before(out) {
			out = since
		}
	}
	return out
}
