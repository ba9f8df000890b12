package validation

import (
	"testing"

	"istio.io/istio/pkg/config/validation"
)

// TestGoldenDecisionsAreValid shows every object that the engine writes in its golden stories to Istio's validation.
func TestGoldenDecisionsAreValid(t *testing.T) {
	count := 0
	for _, file := range glob(t, "../../../routing/testdata/*.out.yaml") {
		var story any
		readYAML(t, file, &story)
		for _, object := range applied(story) {
			validate(t, file, object)
			count++
		}
	}
	if count < 20 {
		t.Errorf("the golden stories apply only %d objects: are they read rightly?", count)
	}
}

// TestExamplesAreValid does so with the matrix of routing/istio.
func TestExamplesAreValid(t *testing.T) {
	for name, e := range examples(t) {
		validate(t, name, e.Rule)
		for _, a := range e.Routes {
			validate(t, name, a.VirtualService)
		}
	}
}

// applied finds the objects to write at any depth.
func applied(node any) []map[string]any {
	var out []map[string]any
	switch n := node.(type) {
	case []any:
		for _, x := range n {
			out = append(out, applied(x)...)
		}
	case map[string]any:
		for key, x := range n {
			object, ok := x.(map[string]any)
			if ok && (key == "applyVirtualService" || key == "applyDestinationRule") {
				out = append(out, object)
				continue
			}
			out = append(out, applied(x)...)
		}
	}
	return out
}

func validate(t *testing.T, where string, object map[string]any) {
	t.Helper()
	c := parsed(t, object)
	check := validation.ValidateDestinationRule
	if isVirtualService(c) {
		check = validation.ValidateVirtualService
	}
	if warning, err := check(c); err != nil || warning != nil {
		t.Errorf("%s: %s/%s: %v, warning %v", where, c.Namespace, c.Name, err, warning)
	}
}
