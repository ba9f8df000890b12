package routing

import (
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

const reasonIstioMissing = "IstioMissing"

// Reasons are all that intent.Problem.Reason can be, sorted: whoever counts problems by reason counts no more series.
func Reasons() []string {
	all := []string{
		reasonIstioMissing, ReasonNoReadyPods,
		intent.ReasonInvalidValue, intent.ReasonUnknownKey, intent.ReasonReservedKey, intent.ReasonUnusedKey,
		release.ReasonNoService, release.ReasonAmbiguousService, release.ReasonServiceMismatch, release.ReasonNoStable,
		release.ReasonAmbiguousStable, release.ReasonStableConflict, release.ReasonVersionConflict, release.ReasonVersionMismatch,
		release.ReasonInvalidVersion, release.ReasonWeightConflict, release.ReasonSelectorsOverlap, release.ReasonLeftOut,
		istio.ReasonUnroutableService, istio.ReasonNoRoutablePort, istio.ReasonTLSPort, istio.ReasonMirrorNeedsHTTP,
		istio.ReasonHostConflict, istio.ReasonRuleConflict, istio.ReasonNameTaken,
	}
	slices.Sort(all)
	return all
}
