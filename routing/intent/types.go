// Package intent is the contract with users: the one table of annotation keys, and what a Deployment's annotations ask
// for.
package intent

import "strings"

// Prefix begins every annotation key that grayscale reads or writes.
const Prefix = "grayscale.dev/"

// Percent is a share of traffic in hundredths of a percent, 0 to 10000: 50 means 0.5 %.
type Percent int

// Hundred is all traffic.
const Hundred Percent = 10000

// Kind says what becomes of an annotation that cannot be followed as it stands.
type Kind string

const (
	// Invalid can never be right: admission denies it, the controller keeps the last good routes.
	Invalid Kind = "Invalid"
	// Pending needs something that does not exist yet: admission warns, the controller waits.
	Pending Kind = "Pending"
	// Conflict means that two objects want the same thing: the older one wins.
	Conflict Kind = "Conflict"
	// Unused changes nothing: admission warns.
	Unused Kind = "Unused"
)

// Problem is one thing that is wrong with a Deployment's annotations, said so that its owner can mend it.
type Problem struct {
	// Key is the annotation key with its prefix; empty when no single key is at fault.
	Key string `json:"key,omitempty"`
	// Kind says what becomes of it.
	Kind Kind `json:"kind"`
	// Reason is the CamelCase word for the condition and the metrics' label.
	Reason string `json:"reason"`
	// Message names object, key, value and what is allowed, in one sentence without a full stop.
	Message string `json:"message"`
	// Fix is what to do about it, in one clause that follows "; ".
	Fix string `json:"fix,omitempty"`
}

// String is the sentence that users read.
func (p Problem) String() string {
	if p.Fix == "" {
		return p.Message
	}
	return p.Message + "; " + p.Fix
}

// Intent is what one Deployment asks for. It is built by Parse alone, so it is valid wherever it is met.
// What the strategy does not use is zero.
type Intent struct {
	// Strategy is empty where the Deployment is no candidate.
	Strategy Strategy `json:"strategy,omitempty"`
	// Service names the Service to be released behind, in the Deployment's namespace, or several, as JoinNames has them;
	// empty where it is to be found by its selector.
	Service string `json:"service,omitempty"`
	// Version is the wanted value of the version label; empty where it follows from the pod template or the name.
	Version string `json:"version,omitempty"`
	// Stable names the stable Deployment, or several of one version, as JoinNames has them; empty where it is to be found.
	Stable string `json:"stable,omitempty"`
	// Weight is the canary's share of requests or connections.
	Weight Percent `json:"weight,omitempty"`
	// Active gives a blue-green candidate all traffic.
	Active bool `json:"active,omitempty"`
	// MirrorPercent is the share of requests that a mirror gets copies of.
	MirrorPercent Percent `json:"mirrorPercent,omitempty"`
	// Paused keeps the routes as they are.
	Paused bool `json:"paused,omitempty"`
}

// Routes is the part of the intent that routes follow from: what a release has to remember of it.
func (i Intent) Routes() Intent {
	return Intent{Strategy: i.Strategy, Weight: i.Weight, Active: i.Active, MirrorPercent: i.MirrorPercent}
}

// SameRoutes reports whether routes that follow the one follow the other.
func (i Intent) SameRoutes(o Intent) bool {
	return i.Strategy == o.Strategy && i.Share() == o.Share() && i.Copies() == o.Copies()
}

// Declared reports whether any annotation of ours that users write is on the Deployment, known to us or not.
func Declared(annotations map[string]string) bool {
	for name := range annotations {
		if !strings.HasPrefix(name, Prefix) {
			continue
		}
		if key := keyOf(name); key == nil || !key.Internal {
			return true
		}
	}
	return false
}
