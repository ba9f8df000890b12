// Command selectors reads PromQL expressions, a JSON list of strings, and prints what each selects: a JSON list with
// one list of selectors per expression. It fails on the first that does not parse.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// selector is one vector selector of an expression.
type selector struct {
	Metric   string    `json:"metric"`
	Matchers []matcher `json:"matchers"`
	// By are the labels that aggregations around it keep, or join on.
	By []string `json:"by"`
}

type matcher struct {
	Name  string `json:"name"`
	Op    string `json:"op"`
	Value string `json:"value"`
}

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var expressions []string
	if err := json.NewDecoder(in).Decode(&expressions); err != nil {
		return err
	}
	all := make([][]selector, len(expressions))
	p := parser.NewParser(parser.Options{})
	for i, e := range expressions {
		parsed, err := p.ParseExpr(e)
		if err != nil {
			return fmt.Errorf("%s: %w", e, err)
		}
		parser.Inspect(parsed, func(node parser.Node, above []parser.Node) error {
			if s, ok := node.(*parser.VectorSelector); ok {
				all[i] = append(all[i], selector{Metric: s.Name, Matchers: matchers(s), By: by(above)})
			}
			return nil
		})
	}
	return json.NewEncoder(out).Encode(all)
}

func matchers(s *parser.VectorSelector) []matcher {
	var out []matcher
	for _, m := range s.LabelMatchers {
		if m.Name != labels.MetricName {
			out = append(out, matcher{m.Name, m.Type.String(), m.Value})
		}
	}
	return out
}

func by(above []parser.Node) []string {
	var out []string
	for _, node := range above {
		if a, ok := node.(*parser.AggregateExpr); ok && !a.Without {
			out = append(out, a.Grouping...)
		}
		if b, ok := node.(*parser.BinaryExpr); ok && b.VectorMatching != nil && b.VectorMatching.On {
			out = append(out, b.VectorMatching.MatchingLabels...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
