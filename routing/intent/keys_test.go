package intent

import (
	"slices"
	"strings"
	"testing"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"
)

// Each entry must be complete, because admission errors, suggestions and the reference page are generated from it.
func TestKeysAreComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Keys() {
		if seen[k.Name] || !strings.HasPrefix(k.Name, Prefix) || k.Help == "" {
			t.Errorf("%s is listed twice, has another prefix or no help", k.Name)
		}
		seen[k.Name] = true
		if errs := validation.IsQualifiedName(k.Name); len(errs) > 0 {
			t.Errorf("%s cannot be an annotation's key: %v", k.Name, errs)
		}
		for _, text := range []string{k.Help, k.Why, k.Syntax} {
			if strings.HasSuffix(text, ".") || text != "" && unicode.IsUpper([]rune(text)[0]) {
				t.Errorf("%s: %q is a sentence; it is put into others", k.Name, text)
			}
		}
		written := !k.Reserved && !k.Internal
		if complete := k.Set != nil && len(k.Strategies) > 0 && k.Syntax != "" && k.Why != "" && k.Default != "" && k.Example != ""; complete != written {
			t.Errorf("%s is complete: %t, want %t", k.Name, complete, written)
		}
		if k.Internal && !strings.Contains(k.Help, "never by you") {
			t.Errorf("%s does not say that users leave it alone", k.Name)
		}
	}
	for _, name := range []string{KeyStrategy, KeyService, KeyVersion, KeyStable, KeyWeight, KeyActive, KeyMirrorPercent, KeyPaused, KeyHeld, KeyPromoted, KeyState} {
		if !seen[name] {
			t.Errorf("%s is in no entry", name)
		}
	}
}

// Every key accepts its example under each strategy that uses it, and refuses its example of a refused value.
func TestExamplesOfKeys(t *testing.T) {
	for _, k := range Keys() {
		for _, s := range k.Strategies {
			in := map[string]string{k.Name: k.Example}
			if s != none && k.Name != KeyStrategy {
				in[KeyStrategy] = string(s)
			}
			before, _ := Parse(object, map[string]string{KeyStrategy: in[KeyStrategy]})
			got, problems := Parse(object, in)
			if len(problems) > 0 || got == before && k.Name != KeyStrategy {
				t.Errorf("%s: %q under %q gives %+v with %v", k.Name, k.Example, s, got, problems)
			}
			in[k.Name] = k.Refused
			if _, problems = Parse(object, in); Usable(problems) || len(problems) != 1 || problems[0].Key != k.Name {
				t.Errorf("%s: %q under %q gives %v", k.Name, k.Refused, s, problems)
			}
		}
	}
}

// A key changes only its own part of the Intent; under a strategy that does not use it, it gets a warning.
func TestUseOfKeys(t *testing.T) {
	for _, k := range Keys() {
		for _, s := range append(Strategies(), none) {
			if k.Set == nil || k.Name == KeyStrategy || k.UsedBy(s) {
				continue
			}
			in := map[string]string{k.Name: k.Example}
			if s != none {
				in[KeyStrategy] = string(s)
			}
			_, problems := Parse(object, in)
			if len(problems) != 1 || problems[0].Key != k.Name || problems[0].Kind != Unused || problems[0].Reason != ReasonUnusedKey {
				t.Errorf("%s under %q gives %v, want that it is unused", k.Name, s, problems)
			}
		}
	}
}

func TestKeysMayBeChanged(t *testing.T) {
	first := Keys()
	first[0].Name, first[0].Strategies[0] = "x", "x"
	Strategies()[0] = "x"
	if again := Keys(); again[0].Name != KeyStrategy || slices.Contains(again[0].Strategies, "x") || slices.Contains(Strategies(), "x") {
		t.Errorf("a caller changed the table: %+v", again[0])
	}
}

func TestDescribe(t *testing.T) {
	for want, i := range map[string]Intent{
		"canary 10% of reviews":           {Strategy: Canary, Weight: 1000},
		"canary 0.5% of reviews":          {Strategy: Canary, Weight: 50},
		"canary 0% of reviews":            {Strategy: Canary},
		"blue-green active for reviews":   {Strategy: BlueGreen, Active: true},
		"blue-green inactive for reviews": {Strategy: BlueGreen},
		"mirror 25% of reviews":           {Strategy: Mirror, MirrorPercent: 2500},
		"":                                {Service: "reviews", Version: "v1"},
	} {
		if got := i.Describe("reviews"); got != want {
			t.Errorf("%+v is %q, want %q", i, got, want)
		}
	}
}

func TestShare(t *testing.T) {
	for i, want := range map[Intent]Percent{
		{}:                                  0,
		{Strategy: Canary, Weight: 1250}:    1250,
		{Strategy: BlueGreen}:               0,
		{Strategy: BlueGreen, Active: true}: Hundred,
		{Strategy: Mirror, MirrorPercent: Hundred}:    0,
		{Strategy: Canary, Weight: 100, Paused: true}: 100,
		{Weight: 5000, Active: true}:                  0,
	} {
		if got := i.Share(); got != want {
			t.Errorf("%+v claims %s, want %s", i, got, want)
		}
	}
}

func TestDeclared(t *testing.T) {
	for _, c := range []struct {
		in   map[string]string
		want bool
	}{
		{nil, false},
		{map[string]string{"deployment.kubernetes.io/revision": "1"}, false},
		{annotated("held", "x", "promoted", "x", "state", "x"), false},
		{annotated("held", "x", "version", "v1"), true},
		{annotated("strategy", ""), true},
		{annotated("weigth", "10"), true},
		{annotated("steps", "10"), true},
	} {
		if got := Declared(c.in); got != c.want {
			t.Errorf("%v is declared: %t, want %t", c.in, got, c.want)
		}
	}
}
