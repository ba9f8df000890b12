package intent

import (
	"strings"

	"github.com/agnivade/levenshtein"
)

const (
	// longestTypo bounds the words that are compared: none of our names is half as long, and the cost grows with the
	// length.
	longestTypo = 64
	// shortestPart is the fewest letters that count as a match when one word contains another.
	shortestPart = 4
)

// nearest is the choice that a mistyped word probably meant: one that takes few edits to reach, or else one that
// contains the word or is contained in it, like blue in blue-green. It is empty if none is near. Of two equally near
// choices the first one wins.
func nearest(word string, choices []string) string {
	if len(word) > longestTypo {
		return ""
	}
	if word = strings.ToLower(strings.TrimSpace(word)); word == "" {
		return ""
	}
	best, least := "", 2+len(word)/4
	for _, c := range choices {
		if d := levenshtein.ComputeDistance(word, c); d < least {
			best, least = c, d
		}
	}
	if best != "" {
		return best
	}
	for _, c := range choices {
		if len(word) >= shortestPart && strings.Contains(c, word) || len(c) >= shortestPart && strings.Contains(word, c) {
			return c
		}
	}
	return ""
}
