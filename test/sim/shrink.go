package sim

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Shrink makes a plan that fails smaller for as long as it breaks the same promise: it leaves out acts, in halves and
// then one by one, and shortens what is left in between.
func Shrink(p Plan, f Failure) Plan { return shrink(p, f, mutation{}) }

func shrink(p Plan, f Failure, m mutation) Plan {
	fails := func(p Plan) bool {
		w := play(p, m, false)
		return w.failure != nil && w.failure.Oracle == f.Oracle
	}
	p.Acts = slices.DeleteFunc(slices.Clone(p.Acts), func(a Act) bool { return a.At > f.At })
	if !fails(p) {
		return p // it takes acts after the failure to let time pass: cannot be, but a plan that fails is worth more
	}
	for size := max(1, len(p.Acts)/2); size > 0; size /= 2 {
		for i := 0; i+size <= len(p.Acts); {
			less := p
			less.Acts = slices.Delete(slices.Clone(p.Acts), i, i+size)
			if fails(less) {
				p = less
			} else {
				i += size
			}
		}
	}
	return shorten(p, fails)
}

// shorten rounds times: everything after a gap moves forward, and what lasts becomes shorter.
func shorten(p Plan, fails func(Plan) bool) Plan {
	try := func(change func(acts []Act)) {
		next := p
		next.Acts = slices.Clone(p.Acts)
		change(next.Acts)
		if fails(next) {
			p = next
		}
	}
	for i := range p.Acts {
		for _, unit := range []time.Duration{10 * time.Second, time.Second, 100 * time.Millisecond} {
			try(func(acts []Act) { acts[i].For = acts[i].For.Truncate(unit) })
			try(func(acts []Act) {
				before := time.Duration(0)
				if i > 0 {
					before = acts[i-1].At
				}
				gap := acts[i].At - before
				cut := gap - gap.Truncate(unit)
				for k := i; k < len(acts); k++ {
					acts[k].At -= cut
				}
			})
		}
	}
	return p
}

// Story tells a plan and what comes of it, line by line.
func Story(p Plan) string {
	w := play(p, mutation{}, true)
	var b strings.Builder
	fmt.Fprintf(&b, "the shortest plan that fails so, of seed %d, has %d acts:\n", p.Seed, len(p.Acts))
	for _, a := range p.Acts {
		fmt.Fprintf(&b, "  %s\n", a)
	}
	b.WriteString("what happens:\n")
	for _, line := range w.story {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	fmt.Fprintf(&b, "replay it with: go test ./test/sim -run TestReplay -v -sim.seed=%d\n", p.Seed)
	return b.String()
}
