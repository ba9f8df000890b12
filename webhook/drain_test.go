package webhook

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// asked records what it was asked to drain, and how much time it had.
type asked struct {
	names []string
	limit time.Duration
	err   error
}

func (a *asked) Drain(ctx context.Context, namespace, name string) error {
	a.names = append(a.names, namespace+"/"+name)
	until, _ := ctx.Deadline()
	a.limit = time.Until(until)
	return a.err
}

func (a *asked) Precede(ctx context.Context, before, after *networkingv1.DestinationRule) error {
	names := []string{}
	for _, dr := range []*networkingv1.DestinationRule{before, after} {
		if dr != nil {
			names = append(names, dr.Spec.Host)
		}
	}
	return a.Drain(ctx, "rule", strings.Join(names, ">"))
}

func (a *asked) PrepareUninstall(ctx context.Context) error { return a.Drain(ctx, "", "everything") }

func ending(t *testing.T, name string, dry bool) admission.Request {
	t.Helper()
	return admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Namespace: shop, Name: name, Operation: admissionv1.Delete,
		DryRun: &dry, OldObject: runtime.RawExtension{Raw: encoded(t, web("web-v2", canary()))}}}
}

func TestEndOfADeployment(t *testing.T) {
	tests := map[string]struct {
		name    string
		dry     bool
		err     error
		drained string
		warning string
	}{
		"deleted":                    {name: "web-v2", drained: "shop/web-v2"},
		"deleted with a collection":  {drained: "shop/web-v2"},
		"a dry run":                  {name: "web-v2", dry: true},
		"the traffic does not leave": {name: "web-v2", err: errors.New("the API server is slow"), drained: "shop/web-v2", warning: "the API server is slow"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := &asked{err: tt.err}
			core, lines := observer.New(zapcore.InfoLevel)
			r := draining{a}.Handle(ctrl.LoggerInto(context.Background(), zapr.NewLogger(zap.New(core))), ending(t, tt.name, tt.dry))
			if (lines.Len() == 1) != (tt.err != nil) || tt.err != nil && lines.All()[0].ContextMap()["why"] != tt.err.Error() {
				t.Errorf("logged %v", lines.All())
			}
			if !r.Allowed {
				t.Errorf("it is refused: %v", r.Result)
			}
			if got := strings.Join(a.names, " "); got != tt.drained {
				t.Errorf("drained %q, want %q", got, tt.drained)
			}
			if got := strings.Join(r.Warnings, "\n"); !strings.Contains(got, tt.warning) || (tt.warning == "") != (got == "") {
				t.Errorf("warned %q, want %q", got, tt.warning)
			}
			if tt.drained != "" && (a.limit <= 0 || a.limit > drainTimeout) {
				t.Errorf("it may take %s, want at most %s", a.limit, drainTimeout)
			}
		})
	}
}

// A user's DestinationRule is always allowed, and the controller is asked first unless nothing would be stored.
func TestRuleOfSomebodyElse(t *testing.T) {
	raw := func(host string) runtime.RawExtension {
		if host == "" {
			return runtime.RawExtension{}
		}
		return runtime.RawExtension{Raw: []byte(`{"metadata":{"namespace":"bank","name":"theirs"},"spec":{"host":"` + host + `","new":1}}`)}
	}
	for name, tt := range map[string]struct {
		before, after string
		dry           bool
		err           error
		asked         string
	}{
		"created":               {after: "web", asked: "rule/web"},
		"changed":               {before: "web", after: "api", asked: "rule/web>api"},
		"deleted":               {before: "web", asked: "rule/web"},
		"a dry run":             {after: "web", dry: true},
		"unreadable":            {after: `"`},
		"clients stay":          {after: "web", err: errors.New("the API server is slow"), asked: "rule/web"},
		"clients stay, deleted": {before: "web", err: errors.New("the API server is slow"), asked: "rule/web"},
	} {
		a := &asked{err: tt.err}
		r := preceding{a}.Handle(context.Background(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{
			Namespace: "bank", Name: "theirs", DryRun: &tt.dry, OldObject: raw(tt.before), Object: raw(tt.after)}})
		if got := strings.Join(a.names, " "); !r.Allowed || got != tt.asked || a.limit > drainTimeout {
			t.Errorf("%s: allowed %t, asked about %q within %s, want %q", name, r.Allowed, got, a.limit, tt.asked)
		}
		if warned := strings.Join(r.Warnings, "\n"); (warned != "") != (tt.err != nil) || tt.err != nil && !strings.Contains(warned, "bank/theirs") {
			t.Errorf("%s: warned %q", name, warned)
		}
	}
}

// Uninstalling grayscale is always allowed as well.
func TestEndOfGrayscale(t *testing.T) {
	for _, dry := range []bool{true, false} {
		a := &asked{err: errors.New("web-v2 is still held")}
		r := uninstalling{a}.Handle(context.Background(), ending(t, "grayscale-system", dry))
		if !r.Allowed || len(a.names) == 1 == dry || len(r.Warnings) == 1 == dry {
			t.Errorf("dry run %t: allowed %t, did %v, warned %q", dry, r.Allowed, a.names, r.Warnings)
		}
	}
}
