package intent

import (
	"cmp"
	"slices"
	"strings"
)

// Parse reads what a Deployment's annotations ask for. object names the Deployment in messages, like "Deployment
// shop/reviews-v2". Annotations without our prefix are ignored.
//
// The Intent holds every valid value that the strategy uses, and the default of each absent key. It must not be acted
// on if Usable is false for the problems. The problems are sorted by key, so the same annotations always give the same
// result; their kinds are Invalid and Unused.
func Parse(object string, annotations map[string]string) (Intent, []Problem) {
	var i Intent
	asked, annotated := annotations[KeyStrategy]
	// If the strategy is invalid, the other values are still checked, but nobody knows which of them it would use.
	strategyKnown := !annotated || setStrategy(&i, asked) == nil
	if _, given := annotations[KeyMirrorPercent]; i.Strategy == Mirror && !given {
		i.MirrorPercent = Hundred
	}
	var problems []Problem
	var unknown []string
	for name, value := range annotations {
		if !strings.HasPrefix(name, Prefix) {
			continue
		}
		key := keyOf(name)
		switch {
		case key == nil:
			unknown = append(unknown, name)
		case key.Internal:
		case key.Reserved:
			problems = append(problems, reservedKey(object, key, value))
		case strategyKnown && !key.UsedBy(i.Strategy):
			problems = append(problems, unusedKey(object, key, value, i.Strategy))
		default:
			if flaw := key.Set(&i, value); flaw != nil {
				problems = append(problems, invalidValue(object, key, value, *flaw))
			}
		}
	}
	if len(problems)+len(unknown) == 0 {
		return i, nil
	}
	return i, sorted(object, problems, unknown, annotations)
}

// Usable reports whether an Intent with these problems may be acted on: none of its values is Invalid.
func Usable(problems []Problem) bool {
	return !slices.ContainsFunc(problems, func(p Problem) bool { return p.Kind == Invalid })
}

// sorted adds the problems of the unknown keys and sorts all by key. The result stays short however many unknown keys
// there are: the first ones get a problem each, and a last problem counts the rest.
func sorted(object string, problems []Problem, unknown []string, annotations map[string]string) []Problem {
	slices.Sort(unknown)
	listed := unknown[:min(len(unknown), maxUnknown)]
	for _, name := range listed {
		problems = append(problems, unknownKey(object, name, annotations[name]))
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Key, b.Key) })
	if rest := len(unknown) - len(listed); rest > 0 {
		problems = append(problems, moreUnknown(object, rest))
	}
	return problems
}
