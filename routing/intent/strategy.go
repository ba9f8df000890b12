package intent

import "fmt"

// Strategy is how a candidate is released: the value of the annotation grayscale.dev/strategy. The zero value means
// that the Deployment is not a candidate.
type Strategy string

const (
	// Canary gives the candidate a portion of production traffic.
	Canary Strategy = "canary"
	// BlueGreen gives the candidate all traffic or none.
	BlueGreen Strategy = "blue-green"
	// Mirror sends the candidate copies of live requests, whose answers are dropped.
	Mirror Strategy = "mirror"
)

// behaviour is everything in which strategies differ.
type behaviour struct {
	// key is the annotation whose value moves the traffic.
	key string
	// share is the portion of production traffic that the intent claims; copies is the portion of requests to copy.
	share, copies func(Intent) Percent
	// describe says what is asked for; it is the message of the condition Programmed.
	describe func(i Intent, service string) string
	// takeTraffic says how to send traffic to a version; takeLess says how to leave older candidates their shares.
	takeTraffic func(version string) string
	takeLess    string
	// needsRequests: the strategy copies requests, which is impossible for connections.
	needsRequests bool
}

func nothing(Intent) Percent { return 0 }

// behaviours is read only.
var behaviours = map[Strategy]behaviour{
	Canary: {
		key:    KeyWeight,
		share:  func(i Intent) Percent { return i.Weight },
		copies: nothing,
		describe: func(i Intent, service string) string {
			return "canary " + i.Weight.String() + " of " + service
		},
		takeTraffic: func(version string) string {
			return fmt.Sprintf("set %s to send traffic to version %s", KeyWeight, version)
		},
		takeLess: "lower one of the weights, so that all candidates' together are at most 100",
	},
	BlueGreen: {
		key: KeyActive,
		share: func(i Intent) Percent {
			if i.Active {
				return Hundred
			}
			return 0
		},
		copies: nothing,
		describe: func(i Intent, service string) string {
			if i.Active {
				return "blue-green active for " + service
			}
			return "blue-green inactive for " + service
		},
		takeTraffic: func(version string) string {
			return fmt.Sprintf(`set %s to "true" to send traffic to version %s`, KeyActive, version)
		},
		takeLess: fmt.Sprintf(`set %s to "false", or take the older candidates' shares away first`, KeyActive),
	},
	Mirror: {
		key:    KeyMirrorPercent,
		share:  nothing, // mirrored copies are not production traffic
		copies: func(i Intent) Percent { return i.MirrorPercent },
		describe: func(i Intent, service string) string {
			return "mirror " + i.MirrorPercent.String() + " of " + service
		},
		takeTraffic: func(version string) string {
			return fmt.Sprintf(`set %s to "canary" and %s, to send traffic to version %s`, KeyStrategy, KeyWeight, version)
		},
		needsRequests: true,
	},
}

// Key is the annotation whose value moves the candidate's traffic; empty without a strategy.
func (s Strategy) Key() string { return behaviours[s].key }

// TakeTraffic says how to send traffic to a version with this strategy, as a clause for a Problem's Fix.
func (s Strategy) TakeTraffic(version string) string {
	if b, ok := behaviours[s]; ok {
		return b.takeTraffic(version)
	}
	return behaviours[Canary].takeTraffic(version)
}

// TakeLess says how to fix candidates that ask for more than all traffic together, as a clause for a Problem's Fix.
func (s Strategy) TakeLess() string { return behaviours[s].takeLess }

// CopiesRequests reports whether the strategy copies requests. Connections cannot be copied.
func (s Strategy) CopiesRequests() bool { return behaviours[s].needsRequests }

// Share is the portion of production traffic that the intent claims: mirrored copies are not production traffic.
func (i Intent) Share() Percent {
	if b, ok := behaviours[i.Strategy]; ok {
		return b.share(i)
	}
	return 0
}

// Copies is the portion of requests that the intent wants copies of.
func (i Intent) Copies() Percent {
	if b, ok := behaviours[i.Strategy]; ok {
		return b.copies(i)
	}
	return 0
}

// Describe is the message of the condition Programmed once the mesh has the routes, like "canary 10% of reviews". It is
// part of the contract, because users wait for it with kubectl. It is empty for an Intent without a strategy.
func (i Intent) Describe(service string) string {
	if b, ok := behaviours[i.Strategy]; ok {
		return b.describe(i, service)
	}
	return ""
}
