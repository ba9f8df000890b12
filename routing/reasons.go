package routing

import (
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/mesh"
	"grayscale.dev/grayscale/routing/release"
)

// Reasons are all values of intent.Problem.Reason, sorted. A metric that counts problems by reason has no other series.
func Reasons() []string {
	all := []string{
		mesh.ReasonNotInstalled, ReasonNoReadyPods, ReasonNewerState,
		intent.ReasonInvalidValue, intent.ReasonUnknownKey, intent.ReasonReservedKey, intent.ReasonUnusedKey,
		release.ReasonNoService, release.ReasonAmbiguousService, release.ReasonServiceMismatch, release.ReasonNoStable,
		release.ReasonAmbiguousStable, release.ReasonStableConflict, release.ReasonVersionConflict,
		release.ReasonVersionMismatch,
		release.ReasonInvalidVersion, release.ReasonWeightConflict, release.ReasonSelectorsOverlap, release.ReasonLeftOut,
		mesh.ReasonUnroutableService, mesh.ReasonNoRoutablePort, mesh.ReasonTLSPort, mesh.ReasonMirrorNeedsHTTP,
		mesh.ReasonHostConflict, mesh.ReasonRuleConflict, mesh.ReasonNameTaken,
	}
	slices.Sort(all)
	return all
}
