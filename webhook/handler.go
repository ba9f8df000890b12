// Package webhook answers admission requests: it labels Deployments and holds them, and refuses what can never be
// right. It contains no rule about releases: those are in package routing.
//
// The API server calls two webhooks for one request: the mutating one, and then, with the result of all mutating
// webhooks, the validating one. Nothing connects the two calls: each has a UID of its own (k8s.io/api/admission/v1,
// AdmissionRequest.UID), and they may reach different replicas. So the first passes nothing on to the second; it could
// be stale. Each decides its own half of the answer from what is true when it is called.
package webhook

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// mutating labels the pod template and holds the Deployment. It never refuses: it leaves wrong input as it is, and the
// validating webhook says what is wrong.
type mutating struct{ admitter }

// Handle answers with a patch, which may be empty.
func (h mutating) Handle(ctx context.Context, req admission.Request) admission.Response {
	response := admission.Allowed("")
	var m routing.Mutation
	o, err := h.decide(ctx, req, func(a routing.Admission) { m = routing.Mutate(a, h.settings) })
	if err != nil {
		return response // the validating webhook has the same problem, and warns
	}
	if response.Patches = patch(o, m); len(response.Patches) > 0 {
		loggerFor(ctx, req).Info("patched at admission", "did", patched(o, m))
	}
	return response
}

// validating refuses what can never be right, and warns about what may become right.
type validating struct{ admitter }

// Handle answers yes, yes with warnings, or no.
func (h validating) Handle(ctx context.Context, req admission.Request) admission.Response {
	var v routing.Verdict
	if _, err := h.decide(ctx, req, func(a routing.Admission) { v = routing.Validate(a, h.settings) }); err != nil {
		answered(ctx, req, outcomeUnchecked, err.Error())
		return unread(req, err)
	}
	response := admission.Allowed("")
	switch {
	case len(v.Denied) > 0:
		response = denied(v.Denied)
		answered(ctx, req, outcomeRefused, response.Result.Message)
	case len(v.Warnings) > 0:
		answered(ctx, req, outcomeWarned, "")
	default:
		answered(ctx, req, outcomeAccepted, "")
	}
	for _, p := range v.Warnings {
		response.Warnings = append(response.Warnings, p.String())
	}
	return response
}

// admitter decides about Deployments at admission.
type admitter struct {
	known    Cluster
	settings routing.Settings
}

// decide reads the request and calls by with all that a decision needs. For Deployments without an annotation of
// grayscale's it calls and reads nothing. The matchConditions of the webhook configurations let few of those through.
func (a admitter) decide(ctx context.Context, req admission.Request, by func(routing.Admission)) (object, error) {
	o := read(req.Object.Raw)
	asked := routing.Admission{Namespace: req.Namespace, New: o.Deployment}
	ours := len(o.Annotations) > 0
	if req.Operation == admissionv1.Update {
		old := read(req.OldObject.Raw)
		ours = ours || len(old.Annotations) > 0
		asked.Old, asked.TemplateChanged = &old.Deployment, !sameTemplate(old, o)
	}
	if !ours {
		return o, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var err error
	if asked.Services, err = a.known.Services(ctx, req.Namespace, o.Deployment); err != nil {
		return o, fmt.Errorf("Services of namespace %s: %w", req.Namespace, err)
	}
	asked.Around = func(service string) routing.Facts {
		around, failed := a.known.Facts(ctx, req.Namespace, service)
		if failed != nil && err == nil {
			err = fmt.Errorf("what is around Service %s/%s: %w", req.Namespace, service, failed)
		}
		return around
	}
	by(asked)
	return o, err
}

// unread admits a Deployment whose surroundings could not be read. The controller repeats every check.
func unread(req admission.Request, err error) admission.Response {
	return admission.Allowed("").WithWarnings(fmt.Sprintf(
		"%s is admitted unchecked, because grayscale could not read what is around it: %v; its controller checks again",
		release.Object(req.Namespace, req.Name), err))
}

// denied lists everything that is wrong, one line for each problem. It answers 422, as the API server does for invalid
// fields.
func denied(problems []intent.Problem) admission.Response {
	sentences := make([]string, len(problems))
	for i, p := range problems {
		sentences[i] = p.String()
	}
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnprocessableEntity, Reason: metav1.StatusReasonInvalid,
		Message: strings.Join(sentences, "\n"),
	}}}
}
