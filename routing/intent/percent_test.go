package intent

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestPercentString(t *testing.T) {
	for p, want := range map[Percent]string{0: "0%", 1: "0.01%", 50: "0.5%", 55: "0.55%", 1000: "10%", 1250: "12.5%", 9999: "99.99%", Hundred: "100%"} {
		if got := p.String(); got != want {
			t.Errorf("%d hundredths are %q, want %q", int(p), got, want)
		}
	}
}

func TestPercentSpelledAndReadIsTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Percent(rapid.IntRange(0, int(Hundred)).Draw(t, "percent"))
		value, found := strings.CutSuffix(want.String(), "%")
		if !found {
			t.Fatalf("%q has no percent sign", want.String())
		}
		got, problems := Parse(object, annotated("strategy", "canary", "weight", value))
		if got.Weight != want || len(problems) > 0 {
			t.Fatalf("%d is spelled %q, which is read as %d with %v", want, value, got.Weight, problems)
		}
	})
}

// A proposal that is itself refused, or that sends more traffic than was asked for, would be worse than none.
func TestProposedPercentIsTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Float64Range(0, 100).Draw(t, "number")
		p := cutToHundredths(number)
		if _, ok := parsePercent(p.number()); !ok {
			t.Fatalf("%v gives the proposal %q", number, p.number())
		}
		if p > 1 && float64(p)/100 > number+1e-9 {
			t.Fatalf("%v is proposed as %s", number, p)
		}
	})
}
