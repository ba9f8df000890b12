package intent

import (
	"slices"
	"strings"
)

// The keys that users write, with their prefix. The table of Keys says what each means.
const (
	KeyStrategy      = Prefix + "strategy"
	KeyService       = Prefix + "service"
	KeyVersion       = Prefix + "version"
	KeyStable        = Prefix + "stable"
	KeyWeight        = Prefix + "weight"
	KeyActive        = Prefix + "active"
	KeyMirrorPercent = Prefix + "mirror-percent"
	KeyPaused        = Prefix + "paused"
)

// The keys that grayscale writes for itself.
const (
	// KeyHeld marks a Deployment that the webhook keeps at zero pods until its Service is pinned to stable. With the
	// value release.Adopting it marks one that is paused while its running pods get the version label.
	KeyHeld = Prefix + "held"
	// KeyPromoted marks a Deployment that became stable and kept its annotations, which have no effect from then on.
	KeyPromoted = Prefix + "promoted"
	// KeyState holds what a release must remember, in JSON, on the derived VirtualService and DestinationRule.
	KeyState = Prefix + "state"
)

// The types of the conditions in a Deployment's status; the words are those of the Gateway API
// (https://gateway-api.sigs.k8s.io/geps/gep-1364/).
const (
	// ConditionAccepted is True if the annotations are valid, everything that they name was found, and nothing
	// conflicts with them.
	ConditionAccepted = Prefix + "Accepted"
	// ConditionProgrammed is True if Istio has the routes that the annotations ask for. Its message is then
	// Intent.Describe.
	ConditionProgrammed = Prefix + "Programmed"
)

// Key is one annotation key, with everything that parsing, admission errors, suggestions and the reference page know
// about it.
type Key struct {
	// Name is the key with its prefix.
	Name string
	// Strategies are those that use the key. An empty Strategy in it stands for a Deployment without one.
	Strategies []Strategy
	// Syntax says which values are allowed, in words that follow "allowed: ".
	Syntax string
	// Why is the reason for the syntax and its bounds, in one sentence.
	Why string
	// Default says what applies if the key is absent.
	Default string
	// Help is the meaning, in one line.
	Help string
	// Example is a value that is allowed; Refused is one that is not.
	Example, Refused string
	// Reserved keys are planned for a later release; they change nothing yet.
	Reserved bool
	// Internal keys are written only by grayscale, never by users.
	Internal bool
	// Set writes a value into an Intent. If the value is wrong, Set leaves the Intent as it is and returns the flaw. It
	// is nil for reserved and internal keys.
	Set func(*Intent, string) *Flaw
}

// Flaw is what is wrong with one value.
type Flaw struct {
	// What is a clause that follows the value and a comma, such as "which is above 100".
	What string
	// Fix is what to do about it, in one clause.
	Fix string
}

// UsedBy reports whether the key has a meaning for a Deployment with that strategy; the empty strategy stands for none.
func (k Key) UsedBy(s Strategy) bool { return slices.Contains(k.Strategies, s) }

// Short is the key without its prefix.
func (k Key) Short() string { return strings.TrimPrefix(k.Name, Prefix) }

const (
	none Strategy = ""

	percentSyntax = "a number from 0 to 100 with at most two decimals"
	boolSyntax    = `"true" or "false"`
	boolWhy       = "one spelling for each, because YAML reads yes, on and y as booleans as well, and tools quote them differently"
)

var (
	everywhere  = []Strategy{none, Canary, BlueGreen, Mirror}
	onCandidate = []Strategy{Canary, BlueGreen, Mirror}
)

// Strategies are the values that the annotation grayscale.dev/strategy may have.
func Strategies() []Strategy { return slices.Clone(onCandidate) }

// Keys are all keys with our prefix: those that users write, then the reserved ones, then the internal ones. The caller
// may change the result.
func Keys() []Key {
	out := slices.Clone(table[:])
	for i := range out {
		out[i].Strategies = slices.Clone(out[i].Strategies)
	}
	return out
}

// keyOf finds a key's entry in the table, which is short enough for a linear search; nil if there is none.
func keyOf(name string) *Key {
	for i := range table {
		if table[i].Name == name {
			return &table[i]
		}
	}
	return nil
}

// table is read only.
var table = [...]Key{
	{
		Name:       KeyStrategy,
		Strategies: onCandidate,
		Syntax:     `"canary", "blue-green" or "mirror"`,
		Why:        "each is another way to share the Service's traffic, and a Deployment is released in one way at a time",
		Default:    "absent: the Deployment is no candidate",
		Help:       "makes the Deployment a candidate, and says how it is released",
		Example:    string(Canary),
		Refused:    "blue",
		Set:        setStrategy,
	},
	{
		Name:       KeyService,
		Strategies: everywhere,
		Syntax:     "names of Services in the same namespace, with commas between them, each of at most 63 lower-case letters, digits and dashes, with a letter or digit at both ends",
		Why:        "these are the names that Kubernetes takes for Services, and staying in the namespace means that an annotation can never claim someone else's traffic; at most 16 can be named, for they are decided together",
		Default:    "the only Service whose selector matches the pod template",
		Help:       "the Service that the Deployment is released behind, or several, which are all split alike; others that select its pods go to stable alone for as long as the release lasts",
		Example:    "reviews",
		Refused:    "reviews.shop",
		Set:        setService,
	},
	{
		Name:       KeyVersion,
		Strategies: everywhere,
		Syntax:     "a label's value of 1 to 63 letters, digits, dashes, underscores and dots, with a letter or digit at both ends",
		Why:        "it becomes the value of the pod label version, which Kubernetes bounds so; a pod template that has the label already must have the same value",
		Default:    "the pod template's label version, else the Deployment's name without the Service's name and a dash at its front",
		Help:       "the value of the pods' version label, which tells this version's pods from the others",
		Example:    "v2",
		Refused:    "v2+build.7",
		Set:        setVersion,
	},
	{
		Name:       KeyStable,
		Strategies: onCandidate,
		Syntax:     "names of Deployments in the same namespace, with commas between them, each of at most 253 lower-case letters, digits, dashes and dots, with a letter or digit at both ends and around each dot",
		Why:        "these are the names that Kubernetes takes for Deployments, and all versions of a Service live in its namespace",
		Default:    "the only Deployment behind the Service without annotations of grayscale",
		Help:       "the Deployment that serves by default, where it is not plain which one that is; or several with the same version label, like one on spot nodes and one on others, which are stable together",
		Example:    "reviews-v1",
		Refused:    "shop/reviews-v1",
		Set:        setStable,
	},
	{
		Name:       KeyWeight,
		Strategies: []Strategy{Canary},
		Syntax:     percentSyntax,
		Why:        "the weights of an Istio route are whole numbers, and they sum to 10000 where a decimal is used: the finest step is a hundredth of a percent",
		Default:    "0",
		Help:       "the percentage of requests (HTTP) or connections (TCP) that the candidate gets",
		Example:    "10",
		Refused:    "150",
		Set: func(i *Intent, value string) *Flaw {
			return setPercent(&i.Weight, value)
		},
	},
	{
		Name:       KeyActive,
		Strategies: []Strategy{BlueGreen},
		Syntax:     boolSyntax,
		Why:        boolWhy,
		Default:    "false",
		Help:       "whether the candidate takes all traffic or none",
		Example:    "true",
		Refused:    "yes",
		Set: func(i *Intent, value string) *Flaw {
			return setBool(&i.Active, value)
		},
	},
	{
		Name:       KeyMirrorPercent,
		Strategies: []Strategy{Mirror},
		Syntax:     percentSyntax,
		Why:        "it is counted in hundredths of a percent, as weights are",
		Default:    "100",
		Help:       "the percentage of requests that are copied to the candidate, whose answers are dropped",
		Example:    "25",
		Refused:    "5%",
		Set: func(i *Intent, value string) *Flaw {
			return setPercent(&i.MirrorPercent, value)
		},
	},
	{
		Name:       KeyPaused,
		Strategies: onCandidate,
		Syntax:     boolSyntax,
		Why:        boolWhy,
		Default:    "false",
		Help:       "keeps the routes exactly as they are, whatever the other annotations say; traffic still leaves a candidate without ready pods",
		Example:    "true",
		Refused:    "1",
		Set: func(i *Intent, value string) *Flaw {
			return setBool(&i.Paused, value)
		},
	},

	{Name: Prefix + "match", Reserved: true, Help: "which requests go to the candidate, as a CEL expression"},
	{Name: Prefix + "steps", Reserved: true, Help: "the weights to go through, and how long each is kept"},
	{Name: Prefix + "analysis", Reserved: true, Help: "what the metrics must show for a release to go on"},
	{Name: Prefix + "sticky", Reserved: true, Help: "keeps a client on the version that it got first"},
	{Name: Prefix + "virtual-service", Reserved: true, Help: "a VirtualService of yours to weave the routes into"},
	{Name: Prefix + "gateways", Reserved: true, Help: "the gateways that the routes hold for"},
	{Name: Prefix + "hosts", Reserved: true, Help: "further hosts that the routes hold for"},
	{Name: Prefix + "mirror-to", Reserved: true, Help: "another place to copy requests to"},

	{Name: KeyHeld, Internal: true, Help: "written by grayscale, never by you: on a Deployment kept at zero pods until its Service is pinned to stable"},
	{Name: KeyPromoted, Internal: true, Help: "written by grayscale, never by you: on a Deployment that became stable while it kept its annotations"},
	{Name: KeyState, Internal: true, Help: "written by grayscale, never by you: on the derived VirtualService and DestinationRule, what the release must remember"},
}
