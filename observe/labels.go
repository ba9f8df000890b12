package observe

import (
	"slices"
	"strings"
	"unique"

	appsv1 "k8s.io/api/apps/v1"
)

// Labels are the labels of an object, or those that a selector requires, sorted by key. A list takes a third of the
// memory of a map and is several times as fast to compare. That matters: there may be a thousand pods behind a Service.
type Labels []label

type label struct{ key, value string }

func labelList(labels map[string]string) Labels {
	out := make(Labels, 0, len(labels))
	for k, v := range labels {
		out = append(out, label{k, v})
	}
	slices.SortFunc(out, func(a, b label) int { return strings.Compare(a.key, b.key) })
	return out
}

// intern returns the one shared copy of a text that many objects have.
func intern(text string) string { return unique.Make(text).Value() }

// get is the value of a label; empty where there is none.
func (l Labels) get(key string) string {
	for _, one := range l {
		if one.key == key {
			return one.value
		}
	}
	return ""
}

// match reports whether a selector with these labels matches others. An empty selector matches nothing.
func (l Labels) match(others Labels) bool {
	for _, one := range l {
		if !slices.Contains(others, one) {
			return false
		}
	}
	return len(l) > 0
}

// keys are the index keys of the labels. The ReplicaSet's hash has none: nothing is searched by it, and each ReplicaSet
// would add a key of its own.
func (l Labels) keys(namespace string) []string {
	out := make([]string, 0, len(l))
	for _, one := range l {
		if one.key != appsv1.DefaultDeploymentUniqueLabelKey {
			out = append(out, labelKey(namespace, one.key, one.value))
		}
	}
	return out
}

func (l Labels) asMap() map[string]string {
	out := make(map[string]string, len(l))
	for _, one := range l {
		out[one.key] = one.value
	}
	return out
}
