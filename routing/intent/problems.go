package intent

import (
	"fmt"
	"strconv"
	"strings"
)

// Reasons of the problems that can be found in the annotations of one Deployment alone.
const (
	// ReasonInvalidValue is for a value that the key can never have; the kind is Invalid.
	ReasonInvalidValue = "InvalidValue"
	// ReasonUnknownKey is for a key with our prefix that has no meaning; the kind is Unused, here and below.
	ReasonUnknownKey = "UnknownKey"
	// ReasonReservedKey is for a key that a later release of grayscale will support.
	ReasonReservedKey = "ReservedKey"
	// ReasonUnusedKey is for a key that the Deployment's strategy does not use.
	ReasonUnusedKey = "UnusedKey"
)

const (
	// maxShown is how many runes of a key or a value a message shows: admission sees them before the API server has
	// checked their length, and a message has to stay readable.
	maxShown = 64
	// maxUnknown is how many unknown keys of one Deployment get a problem of their own.
	maxUnknown = 20
)

func invalidValue(object string, key *Key, value string, flaw Flaw) Problem {
	return Problem{Key: key.Name, Kind: Invalid, Reason: ReasonInvalidValue,
		Message: fmt.Sprintf("%s has %s: %s, %s (allowed: %s)", object, key.Name, quote(value), flaw.What, key.Syntax),
		Fix:     flaw.Fix}
}

func unknownKey(object, name, value string) Problem {
	short := strings.TrimPrefix(name, Prefix)
	shown := Prefix + bare(short)
	p := Problem{Key: shown, Kind: Unused, Reason: ReasonUnknownKey,
		Message: fmt.Sprintf("%s has %s: %s, a key that grayscale does not know and passes over",
			object, shown, quote(value))}
	if near := nearest(short, shortNames()); near != "" {
		p.Fix = "did you mean " + Prefix + near + "?"
	} else {
		p.Fix = "remove it, or use one of " + strings.Join(shortNames(), ", ") + " after " + Prefix
	}
	return p
}

func moreUnknown(object string, count int) Problem {
	return Problem{Kind: Unused, Reason: ReasonUnknownKey,
		Message: fmt.Sprintf("%s has %d more keys beginning with %s that grayscale does not know and passes over",
			object, count, Prefix),
		Fix: "remove them"}
}

func reservedKey(object string, key *Key, value string) Problem {
	return Problem{Key: key.Name, Kind: Unused, Reason: ReasonReservedKey,
		Message: fmt.Sprintf("%s has %s: %s, which is not supported yet and changes nothing", object, key.Name, quote(value)),
		Fix:     "remove it"}
}

func unusedKey(object string, key *Key, value string, s Strategy) Problem {
	p := Problem{Key: key.Name, Kind: Unused, Reason: ReasonUnusedKey}
	owners := strategyNames(key.Strategies)
	if s == none {
		p.Message = fmt.Sprintf("%s has %s: %s, which changes nothing without %s",
			object, key.Name, quote(value), KeyStrategy)
		p.Fix = fmt.Sprintf("set %s to %s, or remove this one", KeyStrategy, owners)
		return p
	}
	p.Message = fmt.Sprintf("%s has %s: %s, which strategy %s does not use", object, key.Name, quote(value), s)
	p.Fix = fmt.Sprintf("remove it, or set %s to %s", KeyStrategy, owners)
	return p
}

// strategyNames lists strategies for a choice: "a", "b" or "c".
func strategyNames(list []Strategy) string {
	var b strings.Builder
	for n, s := range list {
		switch {
		case n > 0 && n == len(list)-1:
			b.WriteString(" or ")
		case n > 0:
			b.WriteString(", ")
		}
		b.WriteString(strconv.Quote(string(s)))
	}
	return b.String()
}

// quote shows a value as a Go string literal in ASCII, cut after maxShown runes. Control characters, line breaks,
// bidirectional marks and letters that only look like others become visible and have no effect.
func quote(value string) string {
	shown := start(value)
	if len(shown) == len(value) {
		return strconv.QuoteToASCII(value)
	}
	return fmt.Sprintf("%+q... (%d bytes)", shown, len(value))
}

// bare shows a name as quote does, without the quotes. A name that Kubernetes accepts, of at most 63 characters, is
// shown unchanged.
func bare(name string) string {
	quoted := strconv.QuoteToASCII(start(name))
	return quoted[1 : len(quoted)-1]
}

// start is the first maxShown runes.
func start(s string) string {
	runes := 0
	for at := range s {
		if runes == maxShown {
			return s[:at]
		}
		runes++
	}
	return s
}

// shortNames are the keys that users may write, without the prefix.
func shortNames() []string {
	var out []string
	for _, k := range Keys() {
		if !k.Reserved && !k.Internal {
			out = append(out, k.Short())
		}
	}
	return out
}
