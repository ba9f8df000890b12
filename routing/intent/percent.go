package intent

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// String writes the share with as few decimals as it needs: "10%", "0.5%".
func (p Percent) String() string { return p.number() + "%" }

// number is the share as an annotation spells it.
func (p Percent) number() string { return strconv.FormatFloat(float64(p)/100, 'f', -1, 64) }

// parsePercent reads what percentSyntax describes: no sign, space or exponent, and no leading zero, because YAML reads
// an unquoted 010 as eight.
func parsePercent(s string) (Percent, bool) {
	whole, fraction, dotted := strings.Cut(s, ".")
	if len(whole) < 1 || len(whole) > 3 || whole[0] == '0' && len(whole) > 1 {
		return 0, false
	}
	if dotted && len(fraction) != 1 && len(fraction) != 2 {
		return 0, false
	}
	p, ok := digits(whole)
	if !ok {
		return 0, false
	}
	f, ok := digits(fraction)
	if !ok {
		return 0, false
	}
	if len(fraction) == 1 {
		f *= 10
	}
	p = p*100 + f
	return p, p <= Hundred
}

func digits(s string) (Percent, bool) {
	var n Percent
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + Percent(s[i]-'0')
	}
	return n, true
}

func setPercent(to *Percent, value string) *Flaw {
	p, ok := parsePercent(value)
	if !ok {
		return percentFlaw(value)
	}
	*to = p
	return nil
}

const otherPercent = `write a number like "10" or "0.5"`

func percentFlaw(value string) *Flaw {
	if value == "" {
		return &Flaw{empty, otherPercent + ", or remove the annotation"}
	}
	if len(value) > maxShown {
		return &Flaw{"which is no such number", otherPercent}
	}
	bare := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "%"))
	number, err := strconv.ParseFloat(strings.Replace(bare, ",", ".", 1), 64)
	if err != nil && math.IsInf(number, 0) {
		return &Flaw{"which is far out of bounds", otherPercent}
	}
	if err != nil || math.IsNaN(number) || math.IsInf(number, 0) || strings.ContainsAny(bare, "xX_") {
		return &Flaw{"which is no number", otherPercent}
	}
	switch {
	case number < 0:
		return &Flaw{"which is below 0", `the least is "0"`}
	case number > 100:
		return &Flaw{"which is above 100", `the most is "100"`}
	}
	return &Flaw{percentSpelling(value, bare), fmt.Sprintf("write %q", cutToHundredths(number).number())}
}

// percentSpelling says what is wrong with a value that means a number in bounds.
func percentSpelling(value, bare string) string {
	_, fraction, dotted := strings.Cut(bare, ".")
	switch {
	case strings.TrimSpace(value) != value:
		return "which has space around the number"
	case value != bare:
		return "which has a percent sign"
	case strings.Contains(bare, ","):
		return "which has a comma for the decimal point"
	case strings.ContainsAny(bare, "eE"):
		return "which has an exponent"
	case strings.ContainsAny(bare, "+-"):
		return "which has a sign"
	case dotted && len(fraction) > 2:
		return "which has more than two decimals"
	case strings.HasPrefix(bare, ".") || strings.HasSuffix(bare, "."):
		return "which lacks a digit beside the decimal point"
	}
	return "which has a leading zero"
}

// cutToHundredths never rounds up: a proposal must not turn almost all traffic into all of it. Nor does it turn a small
// share into none.
func cutToHundredths(number float64) Percent {
	const tiny = 1e-9 // more than the error of a product that should be whole
	p := Percent(math.Floor(number*100 + tiny))
	if p == 0 && number > 0 {
		return 1
	}
	return p
}
