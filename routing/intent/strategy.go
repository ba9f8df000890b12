package intent

import "fmt"

// Strategy is the way a candidate is released; the value of the annotation grayscale.dev/strategy.
// The zero value means that the Deployment is no candidate.
type Strategy string

const (
	// Canary gives the candidate a portion of production traffic.
	Canary Strategy = "canary"
	// BlueGreen gives the candidate all traffic or none.
	BlueGreen Strategy = "blue-green"
	// Mirror sends the candidate copies of live requests, whose answers are dropped.
	Mirror Strategy = "mirror"
)

// behaviour is all that tells one strategy from another.
type behaviour struct {
	// key is the annotation whose value moves the traffic.
	key string
	// share is the portion of production traffic that the intent claims, copies the portion of requests to copy.
	share, copies func(Intent) Percent
	// describe says what is asked for; it is the message of the condition Programmed.
	describe func(i Intent, service string) string
	// takeTraffic is how to send traffic to a version, takeLess how to leave older candidates their shares.
	takeTraffic func(version string) string
	takeLess    string
	// needsRequests: connections cannot be released so.
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

// Key is the annotation whose value moves the candidate's traffic; empty for no strategy.
func (s Strategy) Key() string { return behaviours[s].key }

// TakeTraffic says, as the clause of a Problem's Fix, how traffic is sent to a version that is released so.
func (s Strategy) TakeTraffic(version string) string {
	if b, ok := behaviours[s]; ok {
		return b.takeTraffic(version)
	}
	return behaviours[Canary].takeTraffic(version)
}

// TakeLess says, as the clause of a Problem's Fix, how candidates that ask for more than all traffic together are
// mended.
func (s Strategy) TakeLess() string { return behaviours[s].takeLess }

// CopiesRequests reports whether the strategy needs requests, because connections cannot be copied.
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

// Describe is the message of the condition Programmed once the intent is served, like "canary 10% of reviews". It is
// part of the contract, since a user waits for it with kubectl; empty for an Intent without a strategy.
func (i Intent) Describe(service string) string {
	if b, ok := behaviours[i.Strategy]; ok {
		return b.describe(i, service)
	}
	return ""
}
