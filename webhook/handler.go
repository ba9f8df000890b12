// Package webhook answers for Deployments at the door: it labels and holds them, and refuses what can never be right. It
// holds no rule about releases: those are routing's.
package webhook

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/cluster"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

// handler reads what is known around the Deployment from the caches that the controller keeps.
type handler struct{ reader client.Reader }

// mutate labels and holds.
type mutate struct{ handler }

// Handle sets the pod template's version label, spec.paused and the hold's annotation where the verdict says so, and nothing else.
func (m mutate) Handle(ctx context.Context, req admission.Request) admission.Response {
	in, err := m.admission(ctx, req)
	if err != nil {
		return unread(err)
	}
	v := routing.Admit(in)
	if len(v.Denied) > 0 {
		return admission.Allowed("") // the validating handler refuses it, with the reasons
	}
	resp := admission.Allowed("")
	resp.Patches = patches(req.Object.Raw, v)
	return resp
}

// validate refuses what can never be right and warns of the rest.
type validate struct{ handler }

// Handle denies with 422, as the API server itself does for invalid fields.
func (h validate) Handle(ctx context.Context, req admission.Request) admission.Response {
	in, err := h.admission(ctx, req)
	if err != nil {
		return unread(err)
	}
	v := routing.Admit(in)
	resp := admission.Allowed("")
	if len(v.Denied) > 0 {
		resp = admission.Denied(sentences(v.Denied))
		resp.Result.Code = http.StatusUnprocessableEntity
	}
	for _, p := range v.Warnings {
		resp = resp.WithWarnings(p.String())
	}
	return resp
}

// unread: what cannot be looked up must never stand in a Deployment's way; the controller repeats every check.
func unread(err error) admission.Response {
	return admission.Allowed("").WithWarnings(fmt.Sprintf("grayscale could not check this Deployment and admits it: %v", err))
}

func sentences(problems []intent.Problem) string {
	out := make([]string, len(problems))
	for i, p := range problems {
		out[i] = p.String()
	}
	return strings.Join(out, ". ")
}

// patches are the JSON Patch (RFC 6902) for a verdict.
func patches(raw []byte, v routing.Verdict) []jsonpatch.JsonPatchOperation {
	var out []jsonpatch.JsonPatchOperation
	if v.Version != "" {
		if stringsAt(raw, pathTemplateLabels, "") == nil {
			out = append(out, jsonpatch.NewOperation("add", "/spec/template/metadata/labels", map[string]string{release.VersionLabel: v.Version}))
		} else {
			out = append(out, jsonpatch.NewOperation("add", "/spec/template/metadata/labels/"+release.VersionLabel, v.Version))
		}
	}
	if v.Hold { // a candidate has annotations, so the map is there
		out = append(out, jsonpatch.NewOperation("add", "/spec/paused", true),
			jsonpatch.NewOperation("add", "/metadata/annotations/"+strings.ReplaceAll(intent.KeyHeld, "/", "~1"), "true"))
	}
	return out
}

// admission gathers what routing.Admit needs to know.
func (h handler) admission(ctx context.Context, req admission.Request) (routing.Admission, error) {
	in := routing.Admission{Namespace: req.Namespace, New: deployment(req.Object.Raw)}
	if req.Operation == admissionv1.Update {
		old := deployment(req.OldObject.Raw)
		in.Old = &old
		same, err := sameTemplate(req.OldObject.Raw, req.Object.Raw)
		if err != nil {
			return in, err
		}
		in.TemplateChanged = !same
	}
	if !intent.Declared(in.New.Annotations) && (in.Old == nil || !intent.Declared(in.Old.Annotations)) {
		return in, nil // not ours
	}
	if in.New.Name == "" {
		in.New.Name = req.Name
	}
	in.Pinned = func(service string) *release.State { return h.pinned(ctx, req.Namespace, service) }
	return in, h.around(ctx, &in)
}

// around lists the Services and Deployments of the namespace.
func (h handler) around(ctx context.Context, in *routing.Admission) error {
	var services corev1.ServiceList
	if err := h.reader.List(ctx, &services, client.InNamespace(in.Namespace)); err != nil {
		return err
	}
	for i := range services.Items {
		in.Services = append(in.Services, cluster.Service(&services.Items[i]))
	}
	var deployments appsv1.DeploymentList
	if err := h.reader.List(ctx, &deployments, client.InNamespace(in.Namespace)); err != nil {
		return err
	}
	for i := range deployments.Items {
		if d := cluster.Deployment(&deployments.Items[i]); d.Name != in.New.Name {
			in.Deployments = append(in.Deployments, d)
		}
	}
	return nil
}

// pinned reads what the Service's VirtualService remembers; nil where there is none, or no Istio.
func (h handler) pinned(ctx context.Context, namespace, service string) *release.State {
	vs := &networkingv1.VirtualService{}
	if err := h.reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: istio.Name(service)}, vs); err != nil || !istio.Ours(vs) {
		return nil
	}
	st, _ := istio.ReadState(vs)
	return &st
}

// Paths of the handlers on the webhook's port.
const (
	MutatePath   = "/mutate-apps-v1-deployment"
	ValidatePath = "/validate-apps-v1-deployment"
)

// Setup adds both handlers to the manager's webhook server.
func Setup(mgr ctrl.Manager) {
	h := handler{reader: mgr.GetClient()}
	mgr.GetWebhookServer().Register(MutatePath, &admission.Webhook{Handler: mutate{h}})
	mgr.GetWebhookServer().Register(ValidatePath, &admission.Webhook{Handler: validate{h}})
}
