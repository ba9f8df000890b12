package webhook

import (
	"context"
	"encoding/json"
	"fmt"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// preceding answers about users' DestinationRules, which may hide the subsets of a release from clients. It never
// refuses; it only delays the answer.
type preceding struct{ Controller }

// Handle allows the rule once the routes of the clients from which it hides subsets bypass these.
func (h preceding) Handle(ctx context.Context, req admission.Request) admission.Response {
	response := admission.Allowed("")
	before, after := ruleIn(req.OldObject.Raw), ruleIn(req.Object.Raw)
	if dryRun(req) || before == nil && after == nil {
		return response
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := h.Precede(ctx, before, after); err != nil {
		name := req.Name
		if after != nil {
			name = after.Name // the request has no name where generateName is used
		}
		loggerFor(ctx, req).Info("gave up moving traffic before a rule",
			"destinationRule", req.Namespace+"/"+name, "why", err.Error())
		return response.WithWarnings(fmt.Sprintf(
			"DestinationRule %s/%s hides the subsets of a release from some clients, and not all of them may have been led "+
				"past these: %v; a few requests can be lost", req.Namespace, name, err))
	}
	return response
}

// ruleIn reads a rule. It is nil where there is none, or where it cannot be read: other checks of the API server refuse
// such a rule.
func ruleIn(raw []byte) *networkingv1.DestinationRule {
	dr := &networkingv1.DestinationRule{}
	if len(raw) == 0 || json.Unmarshal(raw, dr) != nil {
		return nil
	}
	return dr
}
