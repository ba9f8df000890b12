package sim

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("sim.update", false, "rewrite the table of mutations in README.md")

const (
	readme  = "README.md"
	tableAt = "<!-- TestMutations writes this table -->\n"
	tableTo = "<!-- end of the table -->\n"
	// mostSeeds is how many seeds a mutation has to be caught within.
	mostSeeds = 4000
)

// TestMutations breaks each rule on purpose, and shows that the oracles see it. README.md tells which seed it took.
func TestMutations(t *testing.T) {
	var b strings.Builder
	b.WriteString("| Rule | Mutation | Caught by | Seed | Steps of that seed | Steps of all seeds tried |\n|---|---|---|---|---|---|\n")
	for _, m := range mutations {
		row, ok := caught(m)
		if !ok {
			t.Errorf("nothing sees %s: %s", m.name, m.rule)
		}
		b.WriteString(row)
	}
	raw, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), tableAt)
	table, after, ended := strings.Cut(rest, tableTo)
	switch {
	case !found || !ended:
		t.Fatalf("%s has no place for the table", readme)
	case table == b.String():
	case *update:
		if err := os.WriteFile(readme, []byte(before+tableAt+b.String()+tableTo+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table in %s is not what was found; write it with: go test ./test/sim -run TestMutations -sim.update\n%s", readme, b.String())
	}
}

// caught plays seeds from 0 on until an oracle sees it.
func caught(m mutation) (row string, ok bool) {
	steps := 0
	for s := range uint64(mostSeeds) {
		plan := Draw(s)
		if m.acts != 0 {
			plan.Acts = slices.DeleteFunc(Draw(m.acts).Acts, func(a Act) bool { return a.Do == hide || a.Do == reveal })
		}
		w := play(plan, m, false)
		steps += w.steps
		if w.failure != nil {
			return fmt.Sprintf("| %s | `%s` | (%s) | %d | %d | %d |\n", m.rule, m.name, w.failure.Oracle, s, w.steps, steps), true
		}
	}
	return "", false
}
