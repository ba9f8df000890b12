package routing

import (
	"slices"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// FieldManager is the name under which everything of ours is written
// (https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers).
const FieldManager = "grayscale"

// marks keeps our annotations on Deployments right: stable carries its version while a release lasts, so that its
// later updates pass the webhook as well, and a stable that kept its strategy is marked as soon as the routes say that it is
// stable, so that it isn't taken for a candidate where somebody deletes them.
func (d *deciding) marks() {
	for _, x := range d.facts.Deployments {
		stable := d.cast.IsStable(x.Name)
		d.markVersion(x, stable)
		if x.Placed.Author == d.facts.Service.Name {
			d.markPromoted(x, stable)
		}
	}
}

func (d *deciding) markVersion(x release.Deployment, stable bool) {
	mark, marked := x.Annotations[intent.KeyVersion]
	ours, version := marked && x.SetBy[intent.KeyVersion] == FieldManager, d.cast.Stable.Version
	lasts := d.out.ApplyDestinationRule != nil || d.pinned && !d.over()
	switch {
	case d.yields(x):
	case stable && lasts && !d.over() && (!marked || ours && mark != version):
		d.annotate(x.Name, intent.KeyVersion, &version)
	case ours && d.markOutlived(stable) && !d.stableBeside(x):
		d.annotate(x.Name, intent.KeyVersion, nil)
	}
}

// markOutlived: the release is over, or another version is stable now. It waits for the routes to go first.
func (d *deciding) markOutlived(stable bool) bool {
	if d.over() {
		return !d.pinned
	}
	return !stable && d.cast.Stable.Deployment != ""
}

// stableBeside: the Deployment is stable behind another Service, whose release lasts.
func (d *deciding) stableBeside(x release.Deployment) bool {
	return slices.ContainsFunc(d.beside, func(b *deciding) bool {
		return b.cast.IsStable(x.Name) && b.pinned
	})
}

// toBeMarkedPromoted: the release is over, but the annotations of a stable still say candidate, and the Service that writes them is
// about to mark it.
func (d *deciding) toBeMarkedPromoted() bool {
	return slices.ContainsFunc(d.cast.Stables, func(x *release.Deployment) bool {
		author := d.part(x.Placed.Author)
		return release.IsCandidate(*x) && author != nil && author.pinned && author.cast.IsStable(x.Name)
	})
}

func (d *deciding) markPromoted(x release.Deployment, stable bool) {
	_, marked := x.Annotations[intent.KeyPromoted]
	_, strategy := x.Annotations[intent.KeyStrategy]
	switch {
	case marked && (!strategy || !stable && d.cast.Stable.Deployment != ""):
		d.annotate(x.Name, intent.KeyPromoted, nil)
	case !marked && stable && d.pinned && strategy && (d.over() || d.state.IsStable(x.Name)):
		version := d.cast.Stable.Version
		d.annotate(x.Name, intent.KeyPromoted, &version)
	}
}

func (d *deciding) annotate(deployment, key string, value *string) {
	d.out.Annotate = append(d.out.Annotate, Annotation{Deployment: deployment, Key: key, Value: value})
}
