package mesh

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"grayscale.dev/grayscale/routing/release"
)

// Describe names clients in a sentence.
func Describe(c release.Clients) string {
	switch {
	case c.Everybody():
		return "all clients"
	case len(c.Labels) == 0:
		return "clients in namespace " + c.Namespace
	}
	var pairs []string
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		pairs = append(pairs, k+"="+c.Labels[k])
	}
	return fmt.Sprintf("clients in namespace %s with labels %s", c.Namespace, strings.Join(pairs, ","))
}
