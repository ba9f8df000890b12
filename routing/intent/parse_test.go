package intent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

const object = "Deployment shop/reviews-v2"

// annotated makes a map of annotations from alternating short keys and values.
func annotated(pairs ...string) map[string]string {
	out := map[string]string{}
	for n := 0; n < len(pairs); n += 2 {
		out[Prefix+pairs[n]] = pairs[n+1]
	}
	return out
}

func TestParseValid(t *testing.T) {
	label63, name253 := strings.Repeat("x", 63), strings.Repeat("d.", 126)+"d"
	for _, c := range []struct {
		name string
		in   map[string]string
		want Intent
	}{
		{"nothing", nil, Intent{}},
		{"other people's keys", map[string]string{"deployment.kubernetes.io/revision": "3", "grayscale.dev": "x", "xgrayscale.dev/weight": "900"}, Intent{}},
		{"canary", annotated("strategy", "canary"), Intent{Strategy: Canary}},
		{"canary in full", annotated("strategy", "canary", "service", "reviews", "version", "v2", "stable", "reviews-v1", "weight", "12.5", "paused", "true"),
			Intent{Strategy: Canary, Service: "reviews", Version: "v2", Stable: "reviews-v1", Weight: 1250, Paused: true}},
		{"blue-green", annotated("strategy", "blue-green"), Intent{Strategy: BlueGreen}},
		{"blue-green active", annotated("strategy", "blue-green", "active", "true"), Intent{Strategy: BlueGreen, Active: true}},
		{"blue-green inactive", annotated("strategy", "blue-green", "active", "false", "paused", "false"), Intent{Strategy: BlueGreen}},
		{"mirror has a default", annotated("strategy", "mirror"), Intent{Strategy: Mirror, MirrorPercent: Hundred}},
		{"mirror of nothing", annotated("strategy", "mirror", "mirror-percent", "0"), Intent{Strategy: Mirror}},
		{"mirror with a percentage", annotated("strategy", "mirror", "mirror-percent", "25"), Intent{Strategy: Mirror, MirrorPercent: 2500}},
		{"a declared stable", annotated("service", "reviews", "version", "v1"), Intent{Service: "reviews", Version: "v1"}},
		{"several Services", annotated("strategy", "canary", "service", "api, api-internal,2fa"), Intent{Strategy: Canary, Service: "api, api-internal, 2fa"}},
		{"several Deployments are stable", annotated("strategy", "canary", "stable", "reviews-spot,reviews.v1"), Intent{Strategy: Canary, Stable: "reviews-spot, reviews.v1"}},
		{"a Service may begin with a digit", annotated("service", "2fa"), Intent{Service: "2fa"}},
		{"the longest names", annotated("strategy", "canary", "service", label63, "version", label63, "stable", name253),
			Intent{Strategy: Canary, Service: label63, Version: label63, Stable: name253}},
		{"a version as labels have them", annotated("version", "V1.0_rc-2"), Intent{Version: "V1.0_rc-2"}},
		{"a Deployment's name may have dots", annotated("strategy", "canary", "stable", "reviews.v1"), Intent{Strategy: Canary, Stable: "reviews.v1"}},
		{"internal keys", annotated("strategy", "canary", "held", "x", "promoted", "", "state", "{"), Intent{Strategy: Canary}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, problems := Parse(object, c.in)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("intent (-want +got):\n%s", diff)
			}
			if len(problems) > 0 {
				t.Errorf("problems: %v", problems)
			}
		})
	}
}

func TestParseWeight(t *testing.T) {
	for value, want := range map[string]Percent{
		"0": 0, "1": 100, "10": 1000, "100": 10000, "0.5": 50, "0.05": 5, "0.01": 1, "33.33": 3333, "99.99": 9999,
		"5.0": 500, "5.00": 500, "100.00": 10000, "0.00": 0,
	} {
		got, problems := Parse(object, annotated("strategy", "canary", "weight", value))
		if got.Weight != want || len(problems) > 0 {
			t.Errorf("weight %q is %d with problems %v, want %d", value, got.Weight, problems, want)
		}
	}
}

// refused are values that can never be right, with what the error says and the fix that it proposes.
var refused = []struct{ strategy, key, value, what, fix string }{
	{"canary", "weight", "150", "which is above 100", `the most is "100"`},
	{"canary", "weight", "100.01", "which is above 100", `the most is "100"`},
	{"canary", "weight", "150%", "which is above 100", `the most is "100"`},
	{"canary", "weight", "1e999", "which is far out of bounds", otherPercent},
	{"canary", "weight", "-1", "which is below 0", `the least is "0"`},
	{"canary", "weight", "-0.01", "which is below 0", `the least is "0"`},
	{"canary", "weight", "-0", "which has a sign", `write "0"`},
	{"canary", "weight", "+5", "which has a sign", `write "5"`},
	{"canary", "weight", "5e1", "which has an exponent", `write "50"`},
	{"canary", "weight", "1E0", "which has an exponent", `write "1"`},
	{"canary", "weight", "5%", "which has a percent sign", `write "5"`},
	{"canary", "weight", "0.5 %", "which has a percent sign", `write "0.5"`},
	{"canary", "weight", " 5", "which has space around the number", `write "5"`},
	{"canary", "weight", "5\n", "which has space around the number", `write "5"`},
	{"canary", "weight", ".5", "which lacks a digit beside the decimal point", `write "0.5"`},
	{"canary", "weight", "5.", "which lacks a digit beside the decimal point", `write "5"`},
	{"canary", "weight", "5,5", "which has a comma for the decimal point", `write "5.5"`},
	{"canary", "weight", "1.234", "which has more than two decimals", `write "1.23"`},
	{"canary", "weight", "99.999", "which has more than two decimals", `write "99.99"`},
	{"canary", "weight", "0.001", "which has more than two decimals", `write "0.01"`},
	{"canary", "weight", "05", "which has a leading zero", `write "5"`},
	{"canary", "weight", "", "which is empty", otherPercent + ", or remove the annotation"},
	{"canary", "weight", "NaN", "which is no number", otherPercent},
	{"canary", "weight", "Inf", "which is no number", otherPercent},
	{"canary", "weight", "0x10", "which is no number", otherPercent},
	{"canary", "weight", "0x1p3", "which is no number", otherPercent},
	{"canary", "weight", "1_0", "which is no number", otherPercent},
	{"canary", "weight", "ten", "which is no number", otherPercent},
	{"canary", "weight", "%", "which is no number", otherPercent},
	{"canary", "weight", "１０", "which is no number", otherPercent},
	{"canary", "weight", "5\x00", "which is no number", otherPercent},
	{"canary", "weight", strings.Repeat("9", 256<<10), "which is no such number", otherPercent},
	{"mirror", "mirror-percent", "101", "which is above 100", `the most is "100"`},
	{"mirror", "mirror-percent", "", "which is empty", otherPercent + ", or remove the annotation"},

	{"", "strategy", "blue", "which is no strategy", `did you mean "blue-green"?`},
	{"", "strategy", "Canary", "which is no strategy", `did you mean "canary"?`},
	{"", "strategy", " canary", "which is no strategy", `did you mean "canary"?`},
	{"", "strategy", "bluegreen", "which is no strategy", `did you mean "blue-green"?`},
	{"", "strategy", "mirroring", "which is no strategy", `did you mean "mirror"?`},
	{"", "strategy", "rolling", "which is no strategy", "set one of them"},
	{"", "strategy", strings.Repeat("canary", 50000), "which is no strategy", "set one of them"},
	{"", "strategy", "", "which is empty", "set one of them, or remove the annotation to end the release"},

	{"blue-green", "active", "True", "which is neither of the two values", `write "true"`},
	{"blue-green", "active", "yes", "which is neither of the two values", `write "true"`},
	{"blue-green", "active", "1", "which is neither of the two values", `write "true"`},
	{"blue-green", "active", "false ", "which is neither of the two values", `write "false"`},
	{"blue-green", "active", "off", "which is neither of the two values", `write "false"`},
	{"blue-green", "active", "50", "which is neither of the two values", `write "true" or "false"`},
	{"blue-green", "active", "", "which is empty", `write "true" or "false", or remove the annotation`},
	{"canary", "paused", "TRUE", "which is neither of the two values", `write "true"`},
	{"canary", "paused", "maybe", "which is neither of the two values", `write "true" or "false"`},

	{"canary", "service", "reviews.shop", "but only Services of the same namespace can be released", `write "reviews"`},
	{"canary", "service", "reviews.shop.svc.cluster.local", "but only Services of the same namespace can be released", `write "reviews"`},
	{"canary", "service", "shop/reviews", "but only Services of the same namespace can be released", `write "reviews"`},
	{"canary", "service", "/", "but only Services of the same namespace can be released", "write the Service's name alone"},
	{"canary", "service", "Reviews", "which cannot be a name in Kubernetes", `write "reviews"`},
	{"canary", "service", "my_reviews", "which cannot be a name in Kubernetes", `write "my-reviews"`},
	{"canary", "service", "-reviews-", "which cannot be a name in Kubernetes", `write "reviews"`},
	{"canary", "service", "??", "which cannot be a name in Kubernetes", "write the name as kubectl get shows it"},
	{"canary", "service", strings.Repeat("r", 64), "which is 64 bytes long, more than 63", "write a shorter one"},
	{"canary", "service", "", "which is empty", "write a name, or remove the annotation"},
	{"canary", "service", " reviews", "which cannot be a name in Kubernetes", `write "reviews"`},
	{"canary", "service", "api,", "which has a comma without a name beside it", `write "api"`},
	{"canary", "service", "api,,api-internal", "which has a comma without a name beside it", `write "api, api-internal"`},
	{"canary", "service", ",", "which has a comma without a name beside it", "write a name, or remove the annotation"},
	{"canary", "service", "api, api-internal, api", `which names "api" twice`, `write "api, api-internal"`},
	{"canary", "service", "api, Internal", `of which "Internal" cannot be a name in Kubernetes`, `write "api, internal"`},
	{"canary", "service", "api, api.shop", `of which "api.shop" is none: only Services of the same namespace can be released`, `write "api"`},
	{"canary", "service", "api, ??", `of which "??" cannot be a name in Kubernetes`, `write the name as kubectl get shows it in place of "??"`},
	{"canary", "service", strings.Repeat("a,", 16) + "b", "which names 17 Services, more than 16", "name fewer"},
	{"", "service", "reviews.shop", "but only Services of the same namespace can be released", `write "reviews"`},

	{"canary", "stable", "shop/reviews-v1", "but only a Deployment of the same namespace can be stable", `write "reviews-v1"`},
	{"canary", "stable", "reviews..v1", "which cannot be a name in Kubernetes", "write the name as kubectl get shows it"},
	{"canary", "stable", "Reviews_v1", "which cannot be a name in Kubernetes", `write "reviews-v1"`},
	{"canary", "stable", strings.Repeat("r", 254), "which is 254 bytes long, more than 253", "write a shorter one"},
	{"canary", "stable", "reviews-v1, shop/reviews-spot", `of which "shop/reviews-spot" is none: only a Deployment of the same namespace can be stable`, `write "reviews-v1, reviews-spot"`},
	{"canary", "stable", "reviews-v1, Reviews_Spot", `of which "Reviews_Spot" cannot be a name in Kubernetes`, `write "reviews-v1, reviews-spot"`},
	{"canary", "stable", "reviews-v1,reviews-v1", `which names "reviews-v1" twice`, `write "reviews-v1"`},
	{"canary", "stable", "reviews-v1,", "which has a comma without a name beside it", `write "reviews-v1"`},
	{"canary", "stable", strings.Repeat("a,", 16) + "b", "which names 17 Deployments, more than 16", "name fewer"},
	{"canary", "stable", "", "which is empty", "write a name, or remove the annotation"},

	{"canary", "version", "v2+build.7", "which cannot be a label's value", `write "v2-build.7"`},
	{"canary", "version", "v 2", "which cannot be a label's value", `write "v-2"`},
	{"canary", "version", "-", "which cannot be a label's value", `write a value like "v2"`},
	{"canary", "version", "vé", "which cannot be a label's value", `write "v"`},
	{"canary", "version", strings.Repeat("v", 64), "which is 64 bytes long, more than 63", "write a shorter one"},
	{"canary", "version", "", "which is empty", "name the version, or remove the annotation"},
	{"", "version", "v2\n", "which cannot be a label's value", `write "v2"`},
}

func TestParseInvalid(t *testing.T) {
	for _, c := range refused {
		t.Run(fmt.Sprintf("%s=%.40q", c.key, c.value), func(t *testing.T) {
			in := annotated(c.key, c.value)
			if c.strategy != "" {
				in[KeyStrategy] = c.strategy
			}
			got, problems := Parse(object, in)
			if want := (Intent{Strategy: Strategy(c.strategy)}); got != want {
				t.Errorf("the wrong value left a trace: %+v, want %+v", got, want)
			}
			if len(problems) != 1 {
				t.Fatalf("problems: %v, want one", problems)
			}
			p := problems[0]
			if p.Key != Prefix+c.key || p.Kind != Invalid || p.Reason != ReasonInvalidValue || p.Fix != c.fix {
				t.Errorf("got %+v, want an invalid %s with fix %s", p, c.key, c.fix)
			}
			want := fmt.Sprintf("%s has %s: %s, %s (allowed: %s)", object, Prefix+c.key, quote(c.value), c.what, keyOf(Prefix+c.key).Syntax)
			if p.Message != want {
				t.Errorf("message\n%s, want\n%s", p.Message, want)
			}
			if Usable(problems) {
				t.Error("an invalid value is usable")
			}
		})
	}
}

func TestParseUnused(t *testing.T) {
	for _, c := range []struct {
		name, strategy, key, value, reason, message, fix string
	}{
		{"a mistyped key", "canary", "weigth", "10", ReasonUnknownKey,
			`Deployment shop/reviews-v2 has grayscale.dev/weigth: "10", a key that grayscale does not know and passes over`,
			"did you mean grayscale.dev/weight?"},
		{"a key in capitals", "canary", "Weight", "10", ReasonUnknownKey,
			`Deployment shop/reviews-v2 has grayscale.dev/Weight: "10", a key that grayscale does not know and passes over`,
			"did you mean grayscale.dev/weight?"},
		{"a longer key", "canary", "canary-weight", "10", ReasonUnknownKey,
			`Deployment shop/reviews-v2 has grayscale.dev/canary-weight: "10", a key that grayscale does not know and passes over`,
			"did you mean grayscale.dev/weight?"},
		{"a part of a key", "mirror", "percent", "10", ReasonUnknownKey,
			`Deployment shop/reviews-v2 has grayscale.dev/percent: "10", a key that grayscale does not know and passes over`,
			"did you mean grayscale.dev/mirror-percent?"},
		{"a key like no other", "canary", "colour", "red", ReasonUnknownKey,
			`Deployment shop/reviews-v2 has grayscale.dev/colour: "red", a key that grayscale does not know and passes over`,
			"remove it, or use one of strategy, service, version, stable, weight, active, mirror-percent, paused after grayscale.dev/"},
		{"an unknown key without strategy", "", "weights", "10", ReasonUnknownKey,
			`Deployment shop/reviews-v2 has grayscale.dev/weights: "10", a key that grayscale does not know and passes over`,
			"did you mean grayscale.dev/weight?"},
		{"a reserved key", "canary", "steps", "5@10m", ReasonReservedKey,
			`Deployment shop/reviews-v2 has grayscale.dev/steps: "5@10m", which is not supported yet and changes nothing`, "remove it"},
		{"another strategy's key", "canary", "active", "true", ReasonUnusedKey,
			`Deployment shop/reviews-v2 has grayscale.dev/active: "true", which strategy canary does not use`,
			`remove it, or set grayscale.dev/strategy to "blue-green"`},
		{"another strategy's key with a wrong value", "blue-green", "weight", "150", ReasonUnusedKey,
			`Deployment shop/reviews-v2 has grayscale.dev/weight: "150", which strategy blue-green does not use`,
			`remove it, or set grayscale.dev/strategy to "canary"`},
		{"weight of a mirror", "mirror", "weight", "10", ReasonUnusedKey,
			`Deployment shop/reviews-v2 has grayscale.dev/weight: "10", which strategy mirror does not use`,
			`remove it, or set grayscale.dev/strategy to "canary"`},
		{"no strategy", "", "paused", "true", ReasonUnusedKey,
			`Deployment shop/reviews-v2 has grayscale.dev/paused: "true", which changes nothing without grayscale.dev/strategy`,
			`set grayscale.dev/strategy to "canary", "blue-green" or "mirror", or remove this one`},
	} {
		t.Run(c.name, func(t *testing.T) {
			in := annotated(c.key, c.value)
			if c.strategy != "" {
				in[KeyStrategy] = c.strategy
			}
			without := maps.Clone(in)
			delete(without, Prefix+c.key)
			want, _ := Parse(object, without)
			got, problems := Parse(object, in)
			if got != want {
				t.Errorf("an unused key changed the intent from %+v to %+v", want, got)
			}
			wantProblems := []Problem{{Key: Prefix + c.key, Kind: Unused, Reason: c.reason, Message: c.message, Fix: c.fix}}
			if diff := cmp.Diff(wantProblems, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if !Usable(problems) {
				t.Error("an unused key made the intent unusable")
			}
		})
	}
}

func TestParseKeepsTheValidRest(t *testing.T) {
	in := annotated("strategy", "canary", "weight", "150", "service", "reviews", "version", "v2", "paused", "maybe", "sticky", "x", "zebra", "y")
	for range 20 { // the order of a map differs from run to run
		got, problems := Parse(object, in)
		if want := (Intent{Strategy: Canary, Service: "reviews", Version: "v2"}); got != want {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		var keys []string
		for _, p := range problems {
			keys = append(keys, strings.TrimPrefix(p.Key, Prefix)+" "+string(p.Kind))
		}
		if diff := cmp.Diff([]string{"paused Invalid", "sticky Unused", "weight Invalid", "zebra Unused"}, keys); diff != "" {
			t.Fatalf("problems (-want +got):\n%s", diff)
		}
	}
}

func TestParseWithWrongStrategy(t *testing.T) {
	got, problems := Parse(object, annotated("strategy", "blue", "weight", "10", "active", "true", "mirror-percent", "150"))
	if want := (Intent{Weight: 1000, Active: true}); got != want || got.Share() != 0 {
		t.Errorf("got %+v with share %s, want %+v with none", got, got.Share(), want)
	}
	if len(problems) != 2 || problems[0].Key != KeyMirrorPercent || problems[1].Key != KeyStrategy || Usable(problems) {
		t.Errorf("problems: %v, want the strategy's and the wrong percentage's", problems)
	}
}

func TestMessagesAreHarmless(t *testing.T) {
	for name, value := range map[string]string{
		"NUL":           "a\x00b",
		"line break":    "a\nb: c",
		"escape":        "a\x1b[31mb",
		"bidirectional": "a\u202eb\u2066c",
		"invalid UTF-8": "a\xff\xfeb",
		"256 KiB":       strings.Repeat("é", 128<<10),
		"wide runes":    strings.Repeat("\U0010ffff", 1000),
	} {
		for _, k := range Keys() {
			in := map[string]string{KeyStrategy: string(Canary), k.Name: value, Prefix + value: value}
			_, problems := Parse(object, in)
			for _, p := range problems {
				checkSentence(t, name, p)
			}
		}
	}
}

func checkSentence(t *testing.T, name string, p Problem) {
	t.Helper()
	if len(p.String()) > 2500 || len(p.Key) > len(Prefix)+maxShown*10 {
		t.Errorf("%s: %d bytes of message, %d of key", name, len(p.String()), len(p.Key))
	}
	for _, r := range p.Key + p.String() {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			t.Errorf("%s: %U stands in %q", name, r, p.String())
		}
	}
	if !utf8.ValidString(p.Key + p.String()) {
		t.Errorf("%s: invalid UTF-8 in %q", name, p.String())
	}
	if p.Reason == "" || p.Message == "" || p.Fix == "" || strings.HasSuffix(p.String(), ".") {
		t.Errorf("%s: not a sentence with a fix: %+v", name, p)
	}
}

func TestManyUnknownKeysAreCounted(t *testing.T) {
	in := annotated("strategy", "canary", "weight", "10")
	for n := range 5000 {
		in[fmt.Sprintf("%szz%04d", Prefix, n)] = "x"
	}
	got, problems := Parse(object, in)
	if got.Weight != 1000 || len(problems) != maxUnknown+1 || !Usable(problems) {
		t.Fatalf("got %+v with %d problems, want the weight and %d", got, len(problems), maxUnknown+1)
	}
	want := Problem{Kind: Unused, Reason: ReasonUnknownKey, Fix: "remove them",
		Message: "Deployment shop/reviews-v2 has 4980 more keys beginning with grayscale.dev/ that grayscale does not know and passes over"}
	if diff := cmp.Diff(want, problems[maxUnknown]); diff != "" {
		t.Errorf("the last one (-want +got):\n%s", diff)
	}
	if problems[0].Key != Prefix+"zz0000" || problems[maxUnknown-1].Key != Prefix+"zz0019" {
		t.Errorf("told are %s to %s", problems[0].Key, problems[maxUnknown-1].Key)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range refused {
		if len(c.value) < 1000 {
			f.Add(c.strategy, c.key, c.value, "weight", "10")
		}
	}
	f.Add("canary", "weight", "10", "service", "reviews")
	f.Add("canary", "weight", "10", "service", "api, api-internal")
	f.Add("mirror", "mirror-percent", "0.5", "\x00", "\u202e")
	f.Add("blue-green", "active", "true", "held", "x")
	f.Fuzz(func(t *testing.T, strategy, key1, value1, key2, value2 string) {
		in := annotated(key1, value1, key2, value2, "strategy", strategy)
		got, problems := Parse(object, in)
		again, problemsAgain := Parse(object, in)
		if diff := cmp.Diff(got, again) + cmp.Diff(problems, problemsAgain); diff != "" {
			t.Fatalf("the same annotations give another answer:\n%s", diff)
		}
		if len(problems) > len(in) {
			t.Fatalf("%d problems for %d annotations", len(problems), len(in))
		}
		for _, p := range problems {
			checkSentence(t, "fuzz", p)
		}
		checkIntent(t, got)
		if rebuilt, more := Parse(object, spelled(got)); Usable(problems) && (rebuilt != got || len(more) > 0) {
			t.Fatalf("%+v spelled again is %+v with %v", got, rebuilt, more)
		}
	})
}

// checkIntent checks what is true of every Intent from Parse, whatever the problems.
func checkIntent(t *testing.T, i Intent) {
	t.Helper()
	if i.Strategy != none && !slices.Contains(Strategies(), i.Strategy) {
		t.Fatalf("strategy %q", i.Strategy)
	}
	if i.Weight < 0 || i.Weight > Hundred || i.MirrorPercent < 0 || i.MirrorPercent > Hundred || i.Share() < 0 || i.Share() > Hundred {
		t.Fatalf("a percentage out of bounds: %+v", i)
	}
	for _, name := range Services(map[string]string{KeyService: i.Service}) {
		if !isServiceName(name) {
			t.Fatalf("a wrong name: %+v", i)
		}
	}
	if i.Stable != "" && !isDeploymentName(i.Stable) || i.Version != "" && !isLabelValue(i.Version) {
		t.Fatalf("a wrong name: %+v", i)
	}
}

// spelled writes an Intent as annotations.
func spelled(i Intent) map[string]string {
	out := map[string]string{}
	for key, value := range map[string]string{KeyStrategy: string(i.Strategy), KeyService: i.Service, KeyVersion: i.Version, KeyStable: i.Stable} {
		if value != "" {
			out[key] = value
		}
	}
	switch i.Strategy {
	case Canary:
		out[KeyWeight] = i.Weight.number()
	case BlueGreen:
		out[KeyActive] = fmt.Sprint(i.Active)
	case Mirror:
		out[KeyMirrorPercent] = i.MirrorPercent.number()
	}
	if i.Paused {
		out[KeyPaused] = "true"
	}
	return out
}

func BenchmarkParse(b *testing.B) {
	in := annotated("strategy", "canary", "service", "reviews", "version", "v2", "stable", "reviews-v1", "weight", "12.5")
	in["deployment.kubernetes.io/revision"] = "7"
	in["kubectl.kubernetes.io/last-applied-configuration"] = strings.Repeat("x", 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, problems := Parse(object, in); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
