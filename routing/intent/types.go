// Package intent is the contract with users: the only table of annotation keys, and what the annotations of a
// Deployment ask for.
package intent

import "strings"

// Prefix begins every annotation key that grayscale reads or writes.
const Prefix = "grayscale.dev/"

// Percent is a share of traffic in hundredths of a percent, 0 to 10000: 50 means 0.5 %.
type Percent int

// Hundred is all traffic.
const Hundred Percent = 10000

// Kind says how an annotation is treated that cannot be followed as it is.
type Kind string

const (
	// Invalid means that it can never be right: admission denies it, and the controller keeps the last good routes.
	Invalid Kind = "Invalid"
	// Pending means that something does not exist yet: admission warns, and the controller waits.
	Pending Kind = "Pending"
	// Conflict means that two objects want the same thing: the older one wins.
	Conflict Kind = "Conflict"
	// Unused means that it changes nothing: admission warns.
	Unused Kind = "Unused"
)

// Problem is one thing that is wrong with a Deployment's annotations, in words that help its owner to fix it.
type Problem struct {
	// Key is the annotation key with its prefix; empty if no single key is at fault.
	Key string `json:"key,omitempty"`
	// Kind says how it is treated.
	Kind Kind `json:"kind"`
	// Reason is a CamelCase word: the reason of the condition, and a label of the metrics.
	Reason string `json:"reason"`
	// Message names the object, the key, the value and what is allowed, in one sentence without a full stop.
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

// Intent is what one Deployment asks for. Parse builds it from annotations; a release stores the part in Routes. Values
// that the strategy does not use are zero.
type Intent struct {
	// Strategy is empty if the Deployment is not a candidate.
	Strategy Strategy `json:"strategy,omitempty"`
	// Service names the Service to be released behind, in the Deployment's namespace, or several in the form of
	// JoinNames. It is empty if the pod template's labels decide.
	Service string `json:"service,omitempty"`
	// Version is the wanted value of the version label; empty if it follows from the pod template or the name.
	Version string `json:"version,omitempty"`
	// Stable names the stable Deployment, or several of one version in the form of JoinNames; empty if it is to be
	// found.
	Stable string `json:"stable,omitempty"`
	// Weight is the canary's share of requests or connections.
	Weight Percent `json:"weight,omitempty"`
	// Active gives a blue-green candidate all traffic.
	Active bool `json:"active,omitempty"`
	// MirrorPercent is the share of requests that are copied to a mirror.
	MirrorPercent Percent `json:"mirrorPercent,omitempty"`
	// Paused keeps the routes as they are.
	Paused bool `json:"paused,omitempty"`
}

// Routes is the part of the intent that decides the routes: what a release has to remember of it.
func (i Intent) Routes() Intent {
	return Intent{Strategy: i.Strategy, Weight: i.Weight, Active: i.Active, MirrorPercent: i.MirrorPercent}
}

// SameRoutes reports whether both intents ask for the same routes.
func (i Intent) SameRoutes(o Intent) bool {
	return i.Strategy == o.Strategy && i.Share() == o.Share() && i.Copies() == o.Copies()
}

// Declared reports whether the Deployment has an annotation with our prefix that is not internal, known or not.
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
