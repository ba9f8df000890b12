package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"grayscale.dev/grayscale/routing/intent"
)

// cases is how many cases the peers have.
const cases = 23

var (
	row       = regexp.MustCompile(`(?m)^\| (\d+) \| [^|]+ \| ([^|]+) \|$`)
	storyName = regexp.MustCompile("`(Test\\w+)`")
	waitsFor  = regexp.MustCompile("^not yet: needs `([a-z-]+)`$")
	declared  = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	ofCase    = regexp.MustCompile(`^TestConformance(\d\d)`)
)

// docs/conformance.md has a row for each case, in order. Every test that it names exists, and every key that a case
// waits for is reserved.
func TestConformanceTable(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	stories := declaredStories(t)
	rows := row.FindAllStringSubmatch(string(page), -1)
	if len(rows) != cases {
		t.Fatalf("the table has %d rows", len(rows))
	}
	told := map[string]int{}
	for i, r := range rows {
		number, story := r[1], r[2]
		if number != strconv.Itoa(i+1) {
			t.Errorf("row %d is case %s", i+1, number)
		}
		named := storyName.FindAllStringSubmatch(story, -1)
		for _, n := range named {
			told[n[1]] = i + 1
			if !slices.Contains(stories, n[1]) {
				t.Errorf("case %s: there is no %s", number, n[1])
			}
		}
		if missing := waitsFor.FindStringSubmatch(story); (len(named) == 0) != (missing != nil) || missing != nil && !isReserved(missing[1]) {
			t.Errorf("case %s has neither a story nor a reserved key that it waits for: %s", number, story)
		}
	}
	for _, name := range stories {
		if number := ofCase.FindStringSubmatch(name); number != nil && strconv.Itoa(told[name]) != strings.TrimLeft(number[1], "0") {
			t.Errorf("%s is not in the row of its case", name)
		}
	}
}

func isReserved(key string) bool {
	return slices.ContainsFunc(intent.Keys(), func(k intent.Key) bool { return k.Reserved && k.Short() == key })
}

// declaredStories are the tests of this package.
func declaredStories(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range declared.FindAllStringSubmatch(string(source), -1) {
			out = append(out, found[1])
		}
	}
	return out
}
