package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"grayscale.dev/grayscale/routing/intent"
)

// Plan is a run before it is played: all that users do and all that goes wrong. How long everything takes is drawn
// while it is played, from the same seed.
type Plan struct {
	Seed     uint64
	Envoys   int
	Replicas int
	Second   bool // another Service selects the same pods
	Acts     []Act
}

// Act is one thing that a user does, or one fault. N is the number of the Deployment reviews-v<N> or of a replica; what
// does not apply when its time comes does nothing, so that any part of a plan is a plan.
type Act struct {
	At         time.Duration
	Do         deed
	N          int
	Key, Value string
	Service    string // that a new candidate names
	For        time.Duration
}

func (a Act) String() string {
	text := fmt.Sprintf("%9.3fs  %s %d", a.At.Seconds(), a.Do, a.N)
	if a.Key != "" {
		text += " " + a.Key
	}
	if a.Value != "" {
		text += "=" + a.Value
	}
	if a.Service != "" {
		text += " for " + a.Service
	}
	if a.For > 0 {
		text += fmt.Sprintf(" for %s", a.For)
	}
	return text
}

// deed is what an Act does.
type deed string

// What users, GitOps, pods and faults do.
const (
	create      deed = "create candidate"
	annotate    deed = "annotate"
	git         deed = "commit and apply" // GitOps: the manifest changes, then it is applied
	apply       deed = "apply again"
	replace     deed = "replace" // a PUT: drops every field that the manifest does not name
	image       deed = "set image"
	relabel     deed = "set version label"
	scale       deed = "scale"
	remove      deed = "delete"
	foreground  deed = "delete in the foreground"
	resume      deed = "rollout resume"
	unready     deed = "pods not ready"
	kill        deed = "force-delete pods"
	noService   deed = "delete Service"
	editRoutes  deed = "edit VirtualService"
	loseRoutes  deed = "delete VirtualService"
	loseRule    deed = "delete DestinationRule"
	hide        deed = "somebody's DestinationRule"
	reveal      deed = "without somebody's DestinationRule"
	touchRoutes deed = "touch VirtualService"
	storm       deed = "touch VirtualService 100 times a second"

	crashAt    deed = "crash replica at write"
	standStill deed = "stop replica"
	haltAt     deed = "stop replica before write"
	failOver   deed = "hand over from replica"
	skew       deed = "restart replica with clock"
	stall      deed = "stall watch of replica"
	relistAll  deed = "410 Gone for replica"
	repeat     deed = "repeat event for replica"
	refuse     deed = "API errors for replica"
	noWebhook  deed = "webhook off"
	noIstio    deed = "Istio's CRDs away"
)

// weighted is how often each is drawn.
var weighted = []struct {
	do   deed
	each int
}{
	{create, 14}, {annotate, 40}, {git, 8}, {apply, 8}, {replace, 3}, {image, 4}, {relabel, 1}, {scale, 10}, {remove, 8},
	{foreground, 3}, {resume, 1}, {unready, 8}, {kill, 2}, {noService, 1}, {editRoutes, 2}, {loseRoutes, 2}, {loseRule, 2},
	{touchRoutes, 2}, {storm, 1}, {crashAt, 5}, {standStill, 3}, {haltAt, 5}, {failOver, 3}, {skew, 2}, {stall, 5},
	{relistAll, 2}, {repeat, 2}, {refuse, 2},
	{noWebhook, 2}, {noIstio, 1},
}

// candidates is how many Deployments beside the first there may be.
const candidates = 4

// Draw makes the plan of a seed.
func Draw(seed uint64) Plan {
	rng := rand.New(rand.NewPCG(seed, 2))
	p := Plan{Seed: seed, Envoys: 1 + rng.IntN(3), Replicas: 2}
	at := time.Duration(rng.Int64N(int64(2 * time.Second)))
	d := drawing{rng: rng, unruly: rng.IntN(3) == 0}
	for range 4 + rng.IntN(40) {
		p.Acts = append(p.Acts, d.act(at))
		gaps := []time.Duration{20 * time.Millisecond, 200 * time.Millisecond, time.Second, 3 * time.Second,
			3 * time.Second, 10 * time.Second}
		at += time.Duration(rng.Int64N(int64(gaps[rng.IntN(len(gaps))])))
	}
	p.Acts = append(p.Acts, foreignActs(seed, at)...)
	p.drawSecond(at)
	slices.SortStableFunc(p.Acts, func(a, b Act) int { return cmp.Compare(a.At, b.At) })
	return p
}

// drawSecond has another Service select the same pods, in one plan of three. New candidates name the one, the other,
// both or none, and change their minds.
func (p *Plan) drawSecond(end time.Duration) {
	rng := rand.New(rand.NewPCG(p.Seed, 4))
	if p.Second = rng.IntN(3) == 0; !p.Second {
		return
	}
	names := []string{service, service, second, service + ", " + second, second + "," + service}
	for i := range p.Acts {
		if p.Acts[i].Do == create && rng.IntN(10) > 0 {
			p.Acts[i].Service = names[rng.IntN(len(names))]
		}
	}
	for range rng.IntN(4) {
		a := Act{At: time.Duration(rng.Int64N(int64(end + time.Second))), Do: annotate,
			N: 1 + rng.IntN(1+candidates), Key: intent.KeyService}
		a.Value = append(names, "", gone)[rng.IntN(len(names)+2)]
		p.Acts = append(p.Acts, a)
	}
}

// foreignActs are what others do with DestinationRules of their own, in one plan of three, at any time of it.
func foreignActs(seed uint64, end time.Duration) []Act {
	rng := rand.New(rand.NewPCG(seed, 3))
	if rng.IntN(3) > 0 {
		return nil
	}
	var out []Act
	names := sortedKeys(foreignRules)
	for range 1 + rng.IntN(8) {
		a := Act{At: time.Duration(rng.Int64N(int64(end + time.Second))), Do: hide, Key: names[rng.IntN(len(names))]}
		out = append(out, a)
		if rng.IntN(4) > 0 {
			out = append(out, Act{At: a.At + time.Duration(rng.Int64N(int64(20*time.Second))), Do: reveal, Key: a.Key})
		}
	}
	return out
}

// drawing draws the acts of one plan. In an unruly one leaders change, stand still and see little, while users hardly
// do more than change weights: what two leaders can do to one another takes several faults at the right time.
type drawing struct {
	rng    *rand.Rand
	unruly bool
}

func (d drawing) act(at time.Duration) Act {
	sum := 0
	for _, x := range weighted {
		sum += d.each(x.do, x.each)
	}
	n := d.rng.IntN(sum)
	for _, x := range weighted {
		if n -= d.each(x.do, x.each); n < 0 {
			return d.details(Act{At: at, Do: x.do})
		}
	}
	return Act{}
}

func (d drawing) each(do deed, each int) int {
	switch {
	case !d.unruly:
		return each
	case do == haltAt || do == stall:
		return 6 * each
	case do == annotate:
		return 2 * each
	}
	return each
}

var values = map[string][]string{
	intent.KeyStrategy:      {"canary", "canary", "blue-green", "mirror", "blue", ""},
	intent.KeyWeight:        {"0", "10", "33.3", "50", "100", "150", ""},
	intent.KeyActive:        {"true", "true", "false", ""},
	intent.KeyMirrorPercent: {"0", "25", "100", ""},
	intent.KeyPaused:        {"true", "false", ""},
	intent.KeyStable:        {"reviews-v1", "reviews-v2", ""},
}

var keys = []string{intent.KeyStrategy, intent.KeyStrategy, intent.KeyWeight, intent.KeyWeight,
	intent.KeyWeight, intent.KeyActive, intent.KeyMirrorPercent, intent.KeyPaused, intent.KeyStable}

func (d drawing) details(a Act) Act {
	rng := d.rng
	pick := func(list ...string) string { return list[rng.IntN(len(list))] }
	lasts := func(most time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(most))) }
	a.N = 1 + rng.IntN(1+candidates)
	switch a.Do {
	case create:
		a.N = 2 + rng.IntN(candidates)
		a.Key, a.Value = pick("labelled", "unlabelled", "labelled paused:false"),
			pick("canary", "canary", "blue-green", "mirror")
	case annotate, git:
		if a.Key = pick(keys...); d.unruly && rng.IntN(3) > 0 {
			a.N, a.Key = 2+rng.IntN(2), intent.KeyWeight
		}
		a.Value = pick(values[a.Key]...)
	case image:
		a.Value = pick("b", "c")
	case relabel:
		a.Value = pick("w1", "w2", "v2")
	case scale:
		a.Value = pick("0", "1", "2", "3")
	case unready:
		a.For = lasts(6 * time.Second)
		a.Value = pick("all", "all", "one")
	case storm:
		a.For = lasts(3 * time.Second)
	case noService:
		a.For = lasts(10 * time.Second)
	case crashAt:
		a.N, a.Value, a.Key = rng.IntN(2), fmt.Sprint(1+rng.IntN(8)), pick("before", "after")
	case standStill:
		a.N, a.For = rng.IntN(2), lasts(20*time.Second)
	case haltAt:
		a.N, a.Value, a.For = rng.IntN(2), fmt.Sprint(1+rng.IntN(3)), lasts(20*time.Second)
	case failOver, relistAll, repeat:
		a.N = rng.IntN(2)
	case skew:
		a.N, a.Value = rng.IntN(2), pick("-1h", "-10s", "-300ms", "300ms", "10s", "1h")
	case stall:
		a.N, a.For = rng.IntN(2), lasts(30*time.Second)
		a.Key = pick(kindNames[deployments], kindNames[pods], kindNames[virtualServices], kindNames[destinationRules], "all")
	case refuse, noWebhook:
		a.N, a.For = rng.IntN(2), lasts(10*time.Second)
	case noIstio:
		a.For = lasts(20 * time.Second)
	}
	return a
}

// end is when the last act is over.
func (p Plan) end() time.Duration {
	end := time.Duration(0)
	for _, a := range p.Acts {
		end = max(end, a.At+a.For)
	}
	return end + time.Millisecond
}
