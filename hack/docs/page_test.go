package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"grayscale.dev/grayscale/routing/intent"
)

const committed = "../../docs/annotations.md"

func TestCommittedPageIsUpToDate(t *testing.T) {
	if err := run(committed, true); err != nil {
		t.Error(err)
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

func TestCheckTellsWhereThePageDiffers(t *testing.T) {
	out := filepath.Join(t.TempDir(), "annotations.md")
	if err := run(out, true); err == nil || !strings.Contains(err.Error(), "from line 1 on") {
		t.Errorf("a page that is not there: %v", err)
	}
	if err := run(out, false); err != nil {
		t.Fatal(err)
	}
	if err := run(out, true); err != nil {
		t.Errorf("a page just written: %v", err)
	}
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out, []byte(strings.Replace(string(text), "\n## Keys", "\n## keys", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(out, true); err == nil || !strings.Contains(err.Error(), "from line 12 on; run: go run ./hack/docs") {
		t.Errorf("a page changed in line 12: %v", err)
	}
	if after, err := os.ReadFile(out); err != nil || !strings.Contains(string(after), "\n## keys") {
		t.Errorf("the check wrote to the page: %v", err)
	}
}
