package sim

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("sim.update", false, "rewrite the table of mutations in README.md")

const (
	readme  = "README.md"
	tableAt = "<!-- TestMutations writes this table -->\n"
	tableTo = "<!-- end of the table -->\n"
	heading = "| Rule | Mutation | Caught by | Seed |\n|---|---|---|---|\n"
	// mostSeeds is how many seeds a mutation has to be caught within.
	mostSeeds = 4000
)

// TestMutations breaks each rule on purpose, and shows that the oracles see it. README.md tells in which seed: that
// one is played. The flag has the first one that sees it looked for.
func TestMutations(t *testing.T) {
	raw, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(raw), tableAt)
	table, after, ended := strings.Cut(rest, tableTo)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", readme)
	}
	seeds := seedsIn(table)
	rows := make([]string, len(mutations))
	inParallel(len(mutations), func(i int) {
		m := mutations[i]
		known, ok := seeds[m.name]
		if ok && !*update {
			rows[i] = caught(m, known)
		}
		for s := uint64(0); s < mostSeeds && rows[i] == ""; s++ {
			rows[i] = caught(m, s)
		}
		if rows[i] == "" {
			t.Errorf("nothing sees %s: %s", m.name, m.rule)
		}
	})
	is := heading + strings.Join(rows, "")
	switch {
	case is == table:
	case *update:
		if err := os.WriteFile(readme, []byte(before+tableAt+is+tableTo+after), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table in %s is not what was found; write it with: "+
			"go test ./test/sim -run TestMutations -sim.update\n%s", readme, is)
	}
}

// seedsIn reads a table: which seed sees each mutation.
func seedsIn(table string) map[string]uint64 {
	out := map[string]uint64{}
	for row := range strings.Lines(table) {
		if cells := strings.Split(row, " | "); len(cells) == 4 {
			if s, err := strconv.ParseUint(strings.TrimSuffix(cells[3], " |\n"), 10, 64); err == nil {
				out[strings.Trim(cells[1], "`")] = s
			}
		}
	}
	return out
}

// caught is a mutation's row of the table; empty where no oracle sees it in that seed.
func caught(m mutation, seed uint64) string {
	plan := Draw(seed)
	if m.acts != 0 {
		plan.Acts = slices.DeleteFunc(Draw(m.acts).Acts, func(a Act) bool { return a.Do == hide || a.Do == reveal })
	}
	w := play(plan, m, false)
	if w.failure == nil {
		return ""
	}
	return fmt.Sprintf("| %s | `%s` | (%s) | %d |\n", m.rule, m.name, w.failure.Oracle, seed)
}
