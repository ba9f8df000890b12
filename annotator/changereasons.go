package annotator

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// Reasons without a difference in the objects.
const (
	reasonNewLeader = "this replica has just begun to lead"
	reasonSettled   = "what was done before has settled"
)

// changeReasons say what has changed since the routes were last as wanted. Users' values are quoted and cut.
func (h *history) changeReasons(f routing.Facts) []string {
	var out []string
	for _, kind := range []string{kindVirtualService, kindDestinationRule} {
		if h.edited(kind, derivedObject(f, kind)) {
			out = append(out, kind+" edited or deleted by somebody else")
		}
	}
	gone := map[string]deploymentState{}
	for _, was := range h.settled {
		gone[was.name] = was
	}
	for _, is := range f.Deployments {
		out = append(out, differences(gone[is.Name], is)...)
		delete(gone, is.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(gone)) {
		out = append(out, fmt.Sprintf("Deployment %s is gone", name))
	}
	switch {
	case len(out) > 0:
		return out
	case h.first:
		return []string{reasonNewLeader}
	}
	return []string{reasonSettled}
}

// differences are those between two states of a Deployment that decisions depend on. The zero state stands for no
// Deployment.
func differences(was deploymentState, is release.Deployment) []string {
	var out []string
	before, now := was.annotations.all(), userAnnotationsOf(is).all()
	for _, key := range slices.Sorted(maps.Keys(merged(before, now))) {
		if text := change(key, before, now); text != "" {
			if who := is.SetBy[key]; who != "" {
				text += fmt.Sprintf(", by %+q", who)
			}
			out = append(out, fmt.Sprintf("Deployment %s: %s", is.Name, text))
		}
	}
	if was.name == "" {
		return out
	}
	if (was.replicas == 0) != (is.Replicas == 0) {
		out = append(out, fmt.Sprintf("Deployment %s: %d replicas (were %d)", is.Name, is.Replicas, was.replicas))
	}
	if is.Deleting && !was.deleting {
		out = append(out, fmt.Sprintf("Deployment %s is being deleted", is.Name))
	}
	if has := readyPods(is); (was.ready == 0) != (has == 0) {
		out = append(out, fmt.Sprintf("Deployment %s: %d ready pods (were %d)", is.Name, has, was.ready))
	}
	return out
}

// maxValue is how many characters of an annotation's value a log line shows.
const maxValue = 64

func change(key string, before, now map[string]string) string {
	was, had := before[key]
	is, has := now[key]
	switch {
	case had && !has:
		return fmt.Sprintf("%q removed (was %+.*q)", key, maxValue, was)
	case !had:
		return fmt.Sprintf("%q is %+.*q", key, maxValue, is)
	case was != is:
		return fmt.Sprintf("%q is %+.*q (was %+.*q)", key, maxValue, is, maxValue, was)
	}
	return ""
}

func readyPods(x release.Deployment) int {
	n := 0
	for _, p := range x.Pods {
		n += p.Ready
	}
	return n
}

// weights are the weights of a VirtualService, as the log shows them: "v1=90% v2=10%".
func weights(vs *networkingv1.VirtualService) string {
	if vs == nil {
		return "none"
	}
	traffic, ok := istio.Mesh{}.ReadTraffic(vs)
	if !ok {
		return "unreadable"
	}
	var parts []string
	for _, w := range traffic.Weights {
		parts = append(parts, w.Version+"="+w.Share.String())
	}
	for _, m := range traffic.Mirrors {
		parts = append(parts, "copies to "+m.Version+"="+m.Share.String())
	}
	return strings.Join(parts, " ")
}

// leavingReasons say why traffic moves before a Deployment ends.
func leavingReasons(f routing.Facts) []string {
	var out []string
	for _, name := range f.Leaving {
		out = append(out, fmt.Sprintf("Deployment %s is about to be deleted or scaled to zero", name))
	}
	return out
}
