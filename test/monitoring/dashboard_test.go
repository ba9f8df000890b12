package monitoring

import (
	"fmt"
	"regexp"
	"slices"
	"testing"
)

// Every query parses, and no two panels of the dashboard overlap.
func TestDashboardIsWhole(t *testing.T) {
	ids, cells := map[int]bool{}, map[[2]int]string{}
	for _, p := range Dashboard(t) {
		if ids[p.ID] {
			t.Errorf("panel %q: id %d is another's", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other, taken := cells[[2]int{x, y}]; taken || x >= 24 {
					t.Errorf("panel %q lies on %q, or beyond the edge, at %d,%d", p.Title, other, x, y)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
	}
	for where, selectors := range Selectors(t, Expressions(t)) {
		if len(selectors) == 0 {
			t.Errorf("%s selects nothing", where)
		}
	}
}

// Alerts and dashboard use only names and labels that docs/metrics.md lists, and only listed values of grayscale's own
// labels.
func TestWhatIsAskedForExists(t *testing.T) {
	known := Documented(t)
	used := map[string]bool{}
	for where, selectors := range Selectors(t, Expressions(t)) {
		for _, s := range selectors {
			m, ok := Family(s.Metric, known)
			if !ok {
				t.Errorf("%s asks for %s, which docs/metrics.md does not list", where, s.Metric)
				continue
			}
			used[m.Name] = true
			for _, problem := range unknown(s, m) {
				t.Errorf("%s: %s %s", where, s.Metric, problem)
			}
		}
	}
	for name := range known {
		if regexp.MustCompile(`^grayscale_`).MatchString(name) && !used[name] {
			t.Errorf("neither alert nor dashboard shows %s", name)
		}
	}
}

// unknown says which labels and values of a selector the metric cannot have.
func unknown(s Selector, m Metric) []string {
	var out []string
	has := func(label string) bool {
		_, ok := m.Labels[label]
		return ok || OfTheScrape(label) || label == "le" && m.Type == "histogram"
	}
	for _, l := range s.By {
		if !has(l) {
			out = append(out, fmt.Sprintf("has no label %s", l))
		}
	}
	for _, l := range s.Matchers {
		if values := m.Labels[l.Name]; !has(l.Name) || l.Op != "=~" && l.Op != "!~" && values != nil && !slices.Contains(values, l.Value) {
			out = append(out, fmt.Sprintf("is never with %s%s%q", l.Name, l.Op, l.Value))
		}
	}
	return out
}
