package harness

import (
	"math"
	"testing"
)

func TestPlausible(t *testing.T) {
	for _, c := range []struct {
		k, n int
		p    float64
		want bool
	}{
		{0, 400, 0, true}, {1, 400, 0, false}, {400, 400, 1, true}, {399, 400, 1, false},
		{40, 400, 0.1, true}, {10, 400, 0.1, false}, {75, 400, 0.1, false}, {70, 400, 0.1, true},
		{200, 400, 0.5, true}, {145, 400, 0.5, false}, {255, 400, 0.5, false},
		{0, 400, 0.005, true}, // e^-2: seeing none is no surprise
		{0, 400, 0.05, false}, // 0.95^400 = 1.2e-9
		{4000, 8000, 0.5, true}, {3700, 8000, 0.5, false},
	} {
		if got := Plausible(c.k, c.n, c.p); got != c.want {
			t.Errorf("Plausible(%d, %d, %v) = %v, want %v", c.k, c.n, c.p, got, c.want)
		}
	}
}

func TestTailUpTo(t *testing.T) {
	// 3 heads or fewer of 10: (1 + 10 + 45 + 120) / 1024.
	if got := tailUpTo(3, 10, 0.5); math.Abs(got-176.0/1024) > 1e-12 {
		t.Errorf("tailUpTo(3, 10, 0.5) = %v", got)
	}
}

func TestOutside(t *testing.T) {
	if wrong := outside(map[string]int{"v1": 360, "v2": 40}, map[string]float64{"v1": 90, "v2": 10}); wrong != "" {
		t.Error(wrong)
	}
	for name, seen := range map[string]map[string]int{
		"a version that should have nothing": {"v1": 399, "v3": 1},
		"a version that is missing":          {"v1": 400},
		"all to the other":                   {"v2": 400},
	} {
		if outside(seen, map[string]float64{"v1": 90, "v2": 10}) == "" {
			t.Errorf("%s was not seen", name)
		}
	}
}
