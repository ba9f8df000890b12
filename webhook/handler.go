// Package webhook answers for Deployments at the door: it labels and holds them, and refuses what can never be right. It
// holds no rule about releases: those are routing's.
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

// mutating labels the pod template and holds. It never refuses: what is wrong is left as it is, and the validating
// handler, which the API server asks afterwards, says why.
type mutating struct{ admitter }

// Handle answers the API server's question with a patch, or with none.
func (m mutating) Handle(ctx context.Context, req admission.Request) admission.Response {
	response := admission.Allowed("")
	o, v, err := m.verdict(ctx, req)
	if err != nil || len(v.Denied) > 0 {
		return response // the validating handler meets the same, and tells
	}
	if response.Patches = patch(o, v); len(response.Patches) > 0 {
		loggerFor(ctx, req).Info("patched at admission", "did", patched(o, v))
	}
	return response
}

// validating refuses what can never be right, and warns of what may become so.
type validating struct{ admitter }

// Handle answers the API server's question with yes, yes with warnings, or no.
func (h validating) Handle(ctx context.Context, req admission.Request) admission.Response {
	_, v, err := h.verdict(ctx, req)
	if err != nil {
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

// verdict reads what is asked and what is around it, and asks the engine. What has nothing to do with grayscale is let
// through before anything is looked up: the API server's matchConditions let few such objects come here at all.
func (a admitter) verdict(ctx context.Context, req admission.Request) (object, routing.Verdict, error) {
	o := read(req.Object.Raw)
	asked := routing.Admission{Namespace: req.Namespace, New: o.Deployment}
	ours := len(o.Annotations) > 0
	if req.Operation == admissionv1.Update {
		old := read(req.OldObject.Raw)
		ours = ours || len(old.Annotations) > 0
		asked.Old, asked.TemplateChanged = &old.Deployment, !sameTemplate(old, o)
	}
	if !ours {
		return o, routing.Verdict{}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	var err error
	if asked.Services, err = a.known.Services(ctx, req.Namespace); err != nil {
		return o, routing.Verdict{}, fmt.Errorf("Services of namespace %s: %w", req.Namespace, err)
	}
	asked.Around = func(service string) (around routing.Facts) {
		if around, err = a.known.Facts(ctx, req.Namespace, service); err != nil {
			err = fmt.Errorf("what is around Service %s/%s: %w", req.Namespace, service, err)
		}
		return around
	}
	v := routing.Admit(asked, a.settings)
	return o, v, err
}

// unread: what cannot be looked up never stands in a Deployment's way; the controller repeats every check.
func unread(req admission.Request, err error) admission.Response {
	return admission.Allowed("").WithWarnings(fmt.Sprintf(
		"%s is admitted unchecked, because grayscale could not read what is around it: %v; its controller checks again",
		release.Object(req.Namespace, req.Name), err))
}

// denied says all that is wrong, a line each. 422 is what the API server itself answers to a field that is invalid.
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
