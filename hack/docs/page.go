package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"text/template"

	"grayscale.dev/grayscale/routing/intent"
)

// The Deployment and the Service that all examples of the page are about.
const (
	object  = "Deployment shop/reviews-v2"
	service = "reviews"
)

//go:embed page.md.tmpl
var pageTemplate string

// content is what the template is filled with.
type content struct {
	Prefix, Strategy, Weight string
	// Keys without the prefix, for running text.
	StrategyKey, WeightKey, ActiveKey string
	Accepted, Programmed              string
	Keys, Reserved, Internal          []intent.Key
	Mistyped, Misplaced               string
	Messages                          []message
}

// message is what the condition Programmed says for some annotations.
type message struct{ Annotations, Message string }

func page() ([]byte, error) {
	c := content{
		Prefix: intent.Prefix, Strategy: intent.KeyStrategy, Weight: intent.KeyWeight,
		StrategyKey: short(intent.KeyStrategy), WeightKey: short(intent.KeyWeight), ActiveKey: short(intent.KeyActive),
		Accepted: intent.ConditionAccepted, Programmed: intent.ConditionProgrammed,
	}
	for _, k := range intent.Keys() {
		switch {
		case k.Reserved:
			c.Reserved = append(c.Reserved, k)
		case k.Internal:
			c.Internal = append(c.Internal, k)
		default:
			c.Keys = append(c.Keys, k)
		}
	}
	var err error
	if c.Messages, err = messages(); err != nil {
		return nil, err
	}
	mistyped := strings.Replace(intent.KeyWeight, "ei", "ie", 1)
	if c.Mistyped, err = answer(intent.Canary, mistyped, "10"); err != nil {
		return nil, err
	}
	if c.Misplaced, err = answer(intent.Canary, intent.KeyActive, "true"); err != nil {
		return nil, err
	}
	t, err := template.New("page").Funcs(template.FuncMap{
		"cell": cell, "strategies": strategies, "predicate": predicate, "refusal": refusal,
	}).Parse(pageTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, c)
	return out.Bytes(), err
}

// messages takes the messages from the product's own code, so that the page cannot differ.
func messages() ([]message, error) {
	var out []message
	for _, pairs := range [][]string{
		{intent.KeyStrategy, string(intent.Canary), intent.KeyWeight, "10"},
		{intent.KeyStrategy, string(intent.BlueGreen), intent.KeyActive, "true"},
		{intent.KeyStrategy, string(intent.BlueGreen), intent.KeyActive, "false"},
		{intent.KeyStrategy, string(intent.Mirror), intent.KeyMirrorPercent, "25"},
	} {
		annotations := map[string]string{}
		var shown []string
		for n := 0; n < len(pairs); n += 2 {
			annotations[pairs[n]] = pairs[n+1]
			shown = append(shown, fmt.Sprintf("`%s: %q`", short(pairs[n]), pairs[n+1]))
		}
		i, problems := intent.Parse(object, annotations)
		if len(problems) > 0 {
			return nil, fmt.Errorf("the page's example is wrong: %s", problems[0])
		}
		out = append(out, message{strings.Join(shown, ", "), i.Describe(service)})
	}
	return out, nil
}

// refusal is the answer to the key's example of a wrong value.
func refusal(k intent.Key) (string, error) {
	return answer(k.Strategies[len(k.Strategies)-1], k.Name, k.Refused)
}

// answer is the user's answer to a Deployment with a strategy and one more annotation.
func answer(s intent.Strategy, key, value string) (string, error) {
	annotations := map[string]string{intent.KeyStrategy: string(s)}
	annotations[key] = value
	_, problems := intent.Parse(object, annotations)
	if len(problems) != 1 {
		return "", fmt.Errorf("%s: %q is meant to give one problem, and gives %d", key, value, len(problems))
	}
	return problems[0].String(), nil
}

func short(key string) string { return strings.TrimPrefix(key, intent.Prefix) }

// strategies lists the strategies that use a key.
func strategies(k intent.Key) string {
	if slices.Contains(k.Strategies, "") {
		return "candidates and stable"
	}
	if len(k.Strategies) == len(intent.Strategies()) {
		return "candidates"
	}
	names := make([]string, 0, len(k.Strategies))
	for _, s := range k.Strategies {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

// predicate turns a key's help, a verb phrase or a noun phrase, into the predicate of a sentence.
func predicate(help string) string {
	switch first, _, _ := strings.Cut(help, " "); first {
	case "the":
		return "is " + help
	case "whether":
		return "says " + help
	}
	return help
}

// cell escapes text that would end a cell of a Markdown table, or look like HTML.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;").Replace(s)
}
