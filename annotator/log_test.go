package annotator

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/zapr"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/istio"
)

// logged acts on a decision without writes, as if everything in acting.did had been done, and returns the lines of the
// log.
func logged(level zapcore.Level, a *acting, err error) []observer.LoggedEntry {
	core, lines := observer.New(level)
	a.ctx = ctrl.LoggerInto(context.Background(), zapr.NewLogger(zap.New(core)))
	a.key = webService
	a.why = func() []string { return []string{"a reason"} }
	a.log(lookAgain, 1500*time.Microsecond, err)
	return lines.All()
}

// A decision that changes something logs one line: what was done, why, and the weights before and after.
func TestOneLinePerDecision(t *testing.T) {
	a := &acting{did: []string{"moved VirtualService web-grayscale", "annotated web-v2"},
		seen:  observe.Observation{Facts: routing.Facts{Mesh: istio.Mesh{VirtualService: routesOf(10, `{"traffic":{}}`)}}},
		wrote: map[string]client.Object{kindVirtualService: routesOf(50, `{"traffic":{}}`)}}
	lines := logged(zapcore.InfoLevel, a, nil)
	if len(lines) != 1 {
		t.Fatalf("%d lines, want 1", len(lines))
	}
	want := map[string]any{"service": "shop/web", "took": "1.5ms", "did": []any{"moved VirtualService web-grayscale", "annotated web-v2"},
		"why": []any{"a reason"}, "before": "v1=90% v2=10%", "after": "v1=50% v2=50%"}
	if diff := cmp.Diff(want, plainFields(lines[0])); diff != "" {
		t.Errorf("the line differs (-want +got):\n%s", diff)
	}
}

func TestLineOfADecisionThatWasStopped(t *testing.T) {
	lines := logged(zapcore.InfoLevel, &acting{did: []string{"created DestinationRule web-grayscale"}}, errors.New("refused\nby the API server"))
	if len(lines) != 1 || lines[0].ContextMap()["stoppedBy"] != "refused\nby the API server" {
		t.Errorf("lines %v", lines)
	}
}

// At the end of a release the routes are removed, so there are no weights after it.
func TestLineOfTheEnd(t *testing.T) {
	a := &acting{did: []string{"removed VirtualService web-grayscale"}, wrote: map[string]client.Object{kindVirtualService: nil},
		seen: observe.Observation{Facts: routing.Facts{Mesh: istio.Mesh{VirtualService: routesOf(100, `{"traffic":{}}`)}}}}
	lines := logged(zapcore.InfoLevel, a, nil)
	if len(lines) != 1 || lines[0].ContextMap()["after"] != "none" {
		t.Errorf("lines %v", lines)
	}
}

// A decision that changes nothing is logged at level debug only.
func TestNoLineWhereNothingChanges(t *testing.T) {
	if lines := logged(zapcore.InfoLevel, &acting{}, nil); len(lines) != 0 {
		t.Errorf("%d lines at level info", len(lines))
	}
	lines := logged(zapcore.DebugLevel, &acting{}, nil)
	if len(lines) != 1 || lines[0].Level != zapcore.DebugLevel || lines[0].ContextMap()["service"] != "shop/web" {
		t.Errorf("at level debug: %v", lines)
	}
}

// plainFields are the fields of a line as an encoder receives them.
func plainFields(line observer.LoggedEntry) map[string]any {
	fields := line.ContextMap()
	for key, v := range fields {
		if list, ok := v.([]string); ok {
			var out []any
			for _, s := range list {
				out = append(out, s)
			}
			fields[key] = out
		}
	}
	return fields
}
