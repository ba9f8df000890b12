package webhook

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/go-logr/zapr"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing/intent"
)

// asks makes a handler answer a request, and returns the lines of the log.
func asks(h admission.Handler, req admission.Request, level zapcore.Level) []observer.LoggedEntry {
	core, lines := observer.New(level)
	h.Handle(ctrl.LoggerInto(context.Background(), zapr.NewLogger(zap.New(core))), req)
	return lines.All()
}

// Every answer is counted by its outcome. A refusal logs one line, with the user's value quoted. Acceptance logs
// nothing.
func TestAnswersAreCountedAndRefusalsLogged(t *testing.T) {
	unreadable := known()
	unreadable.err = errors.New("no API server")
	stable := web("web-v1", nil, labelled("v1"))
	for _, c := range []struct {
		outcome     string
		around      memory
		annotations map[string]string
		says        string // in the only line; empty wants none
	}{
		{outcomeAccepted, known(), canary(intent.KeyWeight, "10"), ""},
		{outcomeWarned, known(), canary(intent.Prefix+"wieght", "10"), ""},
		{outcomeRefused, known(), canary(intent.KeyWeight, "1\n5"), `grayscale.dev/weight: "1\n5"`},
		{outcomeUnchecked, unreadable, canary(intent.KeyWeight, "10"), "no API server"},
	} {
		before := testutil.ToFloat64(admissions.WithLabelValues(c.outcome))
		lines := asks(validating{admitter{c.around, defaults}}, request(t, web("web-v2", c.annotations), nil), zapcore.InfoLevel)
		if got := testutil.ToFloat64(admissions.WithLabelValues(c.outcome)); got != before+1 {
			t.Errorf("%s: counted %v times", c.outcome, got-before)
		}
		if c.says == "" && len(lines) != 0 {
			t.Errorf("%s: logged as %v", c.outcome, lines)
		}
		if c.says != "" && (len(lines) != 1 || !strings.Contains(lines[0].ContextMap()["why"].(string), c.says)) {
			t.Errorf("%s: logged as %v, want one line with %s", c.outcome, lines, c.says)
		}
	}
	if lines := asks(validating{admitter{known(), defaults}}, request(t, web("web-v2", canary()), nil), zapcore.DebugLevel); len(lines) != 1 {
		t.Errorf("a yes at level debug: %v", lines)
	}
	if lines := asks(validating{admitter{known(), defaults}}, request(t, stable, nil), zapcore.InfoLevel); len(lines) != 0 {
		t.Errorf("a Deployment that is none of ours: %v", lines)
	}
}

// A patch logs one line. For a Deployment that was patched before, the webhook patches and logs nothing.
func TestPatchesAreLogged(t *testing.T) {
	first := web("web-v2", canary(intent.KeyWeight, "10"))
	lines := asks(mutating{admitter{known(), defaults}}, request(t, first, nil), zapcore.InfoLevel)
	if len(lines) != 1 || lines[0].ContextMap()["operation"] != "CREATE" {
		t.Fatalf("a Deployment that is labelled and held: %v", lines)
	}
	done := web("web-v2", canary(intent.KeyWeight, "10", intent.KeyHeld, heldValue), labelled("v2"), paused)
	if lines := asks(mutating{admitter{known(), defaults}}, request(t, done, nil), zapcore.InfoLevel); len(lines) != 0 {
		t.Errorf("a Deployment that was patched before: %v", lines)
	}
}

func TestMetricsAreWellNamed(t *testing.T) {
	register()
	for _, c := range Collectors() {
		found, err := testutil.CollectAndLint(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range found {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
