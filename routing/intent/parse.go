package intent

import (
	"cmp"
	"slices"
	"strings"
)

// Parse reads what a Deployment's annotations ask for. object names the Deployment in messages, like
// "Deployment shop/reviews-v2". Annotations without our prefix are passed over.
//
// The Intent holds every valid value that the strategy uses, and defaults where a key is absent; where Usable says no
// to the problems, it is not to be acted on. The problems are sorted by key, so that the same annotations always give
// the same answer; their kinds are Invalid and Unused.
func Parse(object string, annotations map[string]string) (Intent, []Problem) {
	var i Intent
	asked, annotated := annotations[KeyStrategy]
	// With a strategy that is none, the other values are checked, but which of them are used cannot be told.
	told := !annotated || setStrategy(&i, asked) == nil
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
		case told && !key.UsedBy(i.Strategy):
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

// Usable reports whether an Intent that came with these problems may be acted on: none of its values is Invalid.
func Usable(problems []Problem) bool {
	return !slices.ContainsFunc(problems, func(p Problem) bool { return p.Kind == Invalid })
}

// sorted orders the problems by key, the unknown keys' among them. However many unknown keys there are, the answer
// stays short: the first ones are told, the rest is counted in a last problem.
func sorted(object string, problems []Problem, unknown []string, annotations map[string]string) []Problem {
	slices.Sort(unknown)
	told := unknown[:min(len(unknown), maxUnknown)]
	for _, name := range told {
		problems = append(problems, unknownKey(object, name, annotations[name]))
	}
	slices.SortStableFunc(problems, func(a, b Problem) int { return cmp.Compare(a.Key, b.Key) })
	if rest := len(unknown) - len(told); rest > 0 {
		problems = append(problems, moreUnknown(object, rest))
	}
	return problems
}
