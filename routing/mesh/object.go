package mesh

import (
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

const (
	// ManagedBy is the label that the derived objects carry, with the value Manager
	// (https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/).
	ManagedBy = "app.kubernetes.io/managed-by"
	// Manager is the value of the label ManagedBy.
	Manager = "grayscale"
)

// Name is the name of a Service's derived objects.
func Name(service string) string { return service + "-grayscale" }

// Ours reports whether grayscale wrote the object. Somebody else may have edited it since.
func Ours(o metav1.Object) bool {
	_, state := o.GetAnnotations()[intent.KeyState]
	return state || o.GetLabels()[ManagedBy] == Manager
}

// ObjectMeta is what all derived objects have in common; state is a release.State or release.Subsets. The objects are
// deleted with their Service. Their owner reference does not set blockOwnerDeletion, which would need permissions on
// the Service.
func ObjectMeta(s release.Service, state any) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: s.Namespace, Name: Name(s.Name),
		Labels:          map[string]string{ManagedBy: Manager},
		Annotations:     map[string]string{intent.KeyState: stateJSON(state)},
		OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: s.Name, UID: types.UID(s.UID)}},
	}
}

// EqualMeta reports whether the object in the cluster has the wanted name, label, state and owner. It ignores labels,
// annotations and owners that others added.
func EqualMeta(got, want metav1.Object) bool {
	for _, owner := range want.GetOwnerReferences() {
		same := func(o metav1.OwnerReference) bool {
			return o.APIVersion == owner.APIVersion && o.Kind == owner.Kind && o.Name == owner.Name && o.UID == owner.UID
		}
		if !slices.ContainsFunc(got.GetOwnerReferences(), same) {
			return false
		}
	}
	return got.GetNamespace() == want.GetNamespace() && got.GetName() == want.GetName() &&
		got.GetLabels()[ManagedBy] == want.GetLabels()[ManagedBy] &&
		equalState(got.GetAnnotations()[intent.KeyState], want.GetAnnotations()[intent.KeyState])
}

// firstSchema is how a state of schema 1 begins. A state without a schema number has that schema too.
const firstSchema = `{"schema":1,`

// equalState reports whether two states say the same. A missing schema number makes no difference, so that an upgrade
// writes nothing.
func equalState(a, b string) bool { return a == b || withoutSchema(a) == withoutSchema(b) }

func withoutSchema(state string) string {
	if rest, ok := strings.CutPrefix(state, firstSchema); ok {
		return "{" + rest
	}
	return state
}

// Remember replaces the state that an object records, a release.State or release.Subsets; the rest stays as it is.
func Remember(o metav1.Object, state any) {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[intent.KeyState] = stateJSON(state)
	o.SetAnnotations(annotations)
}

// stateJSON writes a release.State or release.Subsets in the current schema.
func stateJSON(state any) string {
	switch s := state.(type) {
	case release.State:
		s.Schema = release.Schema
		state = s
	case release.Subsets:
		s.Schema = release.Schema
		state = s
	}
	raw, err := json.Marshal(state)
	if err != nil {
		panic(err) // strings, numbers and times with four-digit years cannot fail
	}
	return string(raw)
}

// ReadState reads the state of an object with routes; false if the annotation is absent or damaged.
func ReadState(o metav1.Object) (release.State, bool) { return read[release.State](o) }

// ReadSubsets reads the state of an object with subsets; false if the annotation is absent or damaged.
func ReadSubsets(o metav1.Object) (release.Subsets, bool) { return read[release.Subsets](o) }

func read[S any](o metav1.Object) (S, bool) {
	var state, none S
	if err := json.Unmarshal([]byte(o.GetAnnotations()[intent.KeyState]), &state); err != nil {
		return none, false
	}
	return state, true
}
