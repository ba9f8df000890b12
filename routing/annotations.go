package routing

import (
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// FieldManager is the field manager of everything that grayscale writes
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers).
const FieldManager = "grayscale"

// ownedAnnotations are the changes to our own annotations on Deployments. Stable carries its version as long as a
// release lasts, so that the webhook accepts its later updates. A stable that kept its strategy is marked as soon as
// the routes record it as stable. Without the mark it would be a candidate again if somebody deleted the routes.
func (r reporting) ownedAnnotations() []Annotation {
	var out []Annotation
	for _, v := range r.versions {
		stable := r.roles.IsStable(v.Name)
		out = append(out, r.versionAnnotation(v, stable)...)
		if v.Placed.Author == r.service() {
			out = append(out, r.promotedAnnotation(v, stable)...)
		}
	}
	return out
}

func (r reporting) versionAnnotation(v *release.Version, stable bool) []Annotation {
	value, annotated := v.Annotations[intent.KeyVersion]
	ours, version := annotated && v.SetBy[intent.KeyVersion] == FieldManager, r.roles.Stable.Version
	lasts := !r.over() && (r.subsetsWrite != nil || r.pinned)
	switch {
	case r.yields(v):
	case stable && lasts && (!annotated || ours && value != version):
		return []Annotation{{v.Name, intent.KeyVersion, &version}}
	case ours && r.outlived(stable) && !r.stableBeside(v):
		return []Annotation{{v.Name, intent.KeyVersion, nil}}
	}
	return nil
}

// outlived: the release is over, or another version is stable now. The annotation stays until the routes are gone.
func (r reporting) outlived(stable bool) bool {
	if r.over() {
		return !r.pinned
	}
	return !stable && r.roles.Stable.Deployment != ""
}

// stableBeside: the Deployment is stable behind another Service whose release is still running.
func (r reporting) stableBeside(v *release.Version) bool {
	return slices.ContainsFunc(r.beside, func(o *situation) bool { return o.roles.IsStable(v.Name) && o.pinned })
}

func (r reporting) promotedAnnotation(v *release.Version, stable bool) []Annotation {
	_, marked := v.Annotations[intent.KeyPromoted]
	switch {
	case marked && (!v.HasStrategy() || !stable && r.roles.Stable.Deployment != ""):
		return []Annotation{{v.Name, intent.KeyPromoted, nil}}
	case !marked && stable && r.pinned && v.HasStrategy() && (r.over() || r.state.IsStable(v.Name)):
		version := r.roles.Stable.Version
		return []Annotation{{v.Name, intent.KeyPromoted, &version}}
	}
	return nil
}

// toBeMarkedPromoted: the release is over, but a stable's annotations still make it a candidate, and the Service that
// writes them is about to mark it.
func (x *situation) toBeMarkedPromoted() bool {
	return slices.ContainsFunc(x.roles.Stables, func(v *release.Version) bool {
		author := slices.IndexFunc(append([]*situation{x}, x.beside...), func(o *situation) bool {
			return o.service() == v.Placed.Author && o.pinned && o.roles.IsStable(v.Name)
		})
		return v.IsCandidate() && author >= 0
	})
}
