package main

import (
	"path/filepath"
	"strings"
	"testing"

	"grayscale.dev/grayscale/hack/generated"
	"grayscale.dev/grayscale/routing/intent"
)

// atRoot returns the page with the path that the command uses at the root of the repository.
func atRoot(f generated.File) generated.File {
	f.Path = filepath.Join("..", "..", f.Path)
	return f
}

func TestCommittedPagesAreUpToDate(t *testing.T) {
	for _, f := range []generated.File{annotationsPage, metricsPage} {
		if err := atRoot(f).Check(); err != nil {
			t.Error(err)
		}
	}
}

func TestPageTellsOfEveryKey(t *testing.T) {
	text, err := page()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range intent.Keys() {
		for _, want := range []string{"`" + k.Short() + "`", k.Help} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the page lacks %s", want)
			}
		}
		if k.Set == nil {
			continue
		}
		refusal, err := refusal(k)
		if err != nil {
			t.Fatal(err)
		}
		command := "kubectl -n shop annotate --overwrite deployment/reviews-v2 " + k.Name + "=" + k.Example
		for _, want := range []string{command, refusal, k.Why, "\n## " + k.Short() + "\n"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("the page lacks %s", want)
			}
		}
	}
}
