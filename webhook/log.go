package webhook

import (
	"context"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/release"
)

// loggerFor adds fields to controller-runtime's logger, which already names the Deployment and the user.
func loggerFor(ctx context.Context, req admission.Request) logr.Logger {
	return ctrl.LoggerFrom(ctx).WithValues("operation", string(req.Operation), "dryRun", dryRun(req))
}

// answered counts an answer and logs it, at level debug where it is accepted. why is safe to log: it quotes what users
// wrote.
func answered(ctx context.Context, req admission.Request, outcome, why string) {
	admissions.WithLabelValues(outcome).Inc()
	log := loggerFor(ctx, req)
	if outcome == outcomeAccepted || outcome == outcomeWarned {
		log = log.V(1)
	}
	log.Info("answered at admission", "outcome", outcome, "why", why)
}

// patched describes the patch for the log.
func patched(o object, m routing.Mutation) []string {
	var did []string
	if m.Version != "" && o.TemplateLabels[release.VersionLabel] != m.Version {
		did = append(did, "labelled with version "+m.Version)
	}
	if m.Hold {
		did = append(did, "held at zero pods until the Service is pinned to stable")
	}
	return did
}
