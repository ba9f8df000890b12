package e2e

import (
	"strings"
	"testing"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/test/harness"
)

// Every key's wrong value is refused at admission. The message names the key, the value and what is allowed.
func TestWrongValuesAreRefused(t *testing.T) {
	s, _ := startWeb(t)
	s.Apply(web("web-v2", "strategy: canary", `weight: "10"`))
	s.Programmed("web-v2", "canary 10% of web")
	for _, key := range intent.Keys() {
		if key.Refused == "" {
			continue
		}
		change := key.Name + "=" + key.Refused
		changes := []string{change}
		if key.Short() != "strategy" { // the value is checked where the strategy uses the key
			changes = append(changes, "grayscale.dev/strategy="+string(key.Strategies[len(key.Strategies)-1]))
		}
		out, err := harness.TryKubectl(t, "", append([]string{"annotate", "--overwrite", "-n", s.NS, "deploy/web-v2"}, changes...)...)
		if err == nil {
			t.Errorf("%s was not refused: %s", change, out)
		}
		for _, part := range []string{key.Name, key.Refused, key.Syntax} {
			// kubectl and the API server may quote the message again.
			if !strings.Contains(strings.ReplaceAll(out, `\"`, `"`), part) {
				t.Errorf("the refusal of %s does not say %q: %s", change, part, out)
			}
		}
	}
	for _, value := range []string{"5e1", "-1", "100.5", "10.001", "NaN", "0x10", " 10", ""} {
		if out, err := harness.TryKubectl(t, "", "annotate", "--overwrite", "-n", s.NS, "deploy/web-v2", "grayscale.dev/weight="+value); err == nil {
			t.Errorf("weight=%q was not refused: %s", value, out)
		}
	}
	s.Programmed("web-v2", "canary 10% of web")
	s.Served(split{"v1": 90, "v2": 10})
}

// A key that has no effect gets a warning, and changes no route.
func TestUnusedKeysWarn(t *testing.T) {
	s, _ := startWeb(t)
	out := s.Apply(web("web-v2", "strategy: canary", `weight: "10"`, `wieght: "50"`, `active: "true"`, `steps: "5@10m"`))
	for _, part := range []string{"Warning:", "did you mean grayscale.dev/weight?", "grayscale.dev/active", "not supported yet"} {
		if !strings.Contains(out, part) {
			t.Errorf("kubectl apply does not say %q: %s", part, out)
		}
	}
	s.Programmed("web-v2", "canary 10% of web")
	s.Served(split{"v1": 90, "v2": 10})
}

// Two objects want the same thing: the second is refused if admission can see the conflict.
func TestConflictsAreRefused(t *testing.T) {
	s, _ := startWeb(t)
	s.Apply(web("web-v2", "strategy: canary", `weight: "60"`))
	s.Programmed("web-v2", "canary 60% of web")

	if out := s.refused(web("web-v3", "strategy: canary", `weight: "50"`)); !strings.Contains(out, "at most 100") {
		t.Errorf("weights over 100: %s", out)
	}
	if out := s.refused(web("web-v4", "strategy: canary", `version: v2`)); !strings.Contains(out, "v2") {
		t.Errorf("the same version twice: %s", out)
	}
	if out := s.refused(web("web-v5", "strategy: canary", `version: v1`)); !strings.Contains(out, "web-v1") {
		t.Errorf("stable's version: %s", out)
	}
	s.Served(split{"v1": 40, "v2": 60})
}

// A candidate whose annotations cannot be applied yet is admitted with a warning, held, and goes on by itself.
func TestPendingResumes(t *testing.T) {
	s, _ := startWeb(t)
	out := s.Apply(web("web-v2", "strategy: canary", `weight: "30"`, "stable: web-v0"))
	if !strings.Contains(out, "Warning:") || !strings.Contains(out, "web-v0") {
		t.Errorf("a stable that does not exist: %s", out)
	}
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "web-v0")
	if pods := s.pods("web-v2"); len(pods) != 0 {
		t.Errorf("the candidate is not held: %v", pods)
	}
	s.Served(split{harness.Unlabelled: 100})

	s.Annotate("web-v2", "stable=web-v1")
	s.Programmed("web-v2", "canary 30% of web")
	s.Served(split{"v1": 70, "v2": 30})
}

// A foreign VirtualService already holds the host: it keeps it, and the candidate goes on when it is gone.
func TestOtherVirtualServiceHoldsHost(t *testing.T) {
	s, _ := startWeb(t)
	s.Apply(`
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: mine
spec:
  hosts:
  - web
  http:
  - route:
    - destination:
        host: web
`)
	s.Apply(web("web-v2", "strategy: canary", `weight: "50"`))
	harness.WaitCondition(t, s.NS, "web-v2", "grayscale.dev/Accepted", "False", "mine")
	if pods := s.pods("web-v2"); len(pods) != 0 {
		t.Errorf("the candidate is not held: %v", pods)
	}
	s.Kubectl("delete", "virtualservice/mine")
	s.Programmed("web-v2", "canary 50% of web")
	s.Served(split{"v1": 50, "v2": 50})
}
