package release

// Adoption is what tells how far a running Deployment is on its way to carry the version label without a restart. All
// of it is read from the API server: no step may rest on a cache that lags behind.
type Adoption struct {
	// Labelled: the Deployment's template carries a version label; Done: it is the one that is wanted.
	Labelled, Done bool
	// Paused is spec.paused; Ours: the pause is that of this adoption.
	Paused, Ours bool
	// PauseSeen: the Deployment controller has seen the Deployment as it is (status.observedGeneration).
	PauseSeen bool
	// Current: a ReplicaSet equals the template as it is; Ready: one equals it once it has the label.
	Current, Ready bool
	// SetsLack: a ReplicaSet that has pods, or gets them, lacks the label.
	SetsLack bool
	// SetsSeen: kube-controller-manager has seen every ReplicaSet as it is.
	SetsSeen bool
}

// AdoptionStep is what an adoption needs next.
type AdoptionStep int

const (
	// LabelPods is due once the template has the label: only pods can lack it.
	LabelPods AdoptionStep = iota
	// Pause keeps the Deployment controller from a rollout while ReplicaSet and template differ.
	Pause
	// AwaitPause waits until the Deployment controller has seen the pause: it reads Deployments and
	// ReplicaSets by separate watches, and must not see a labelled ReplicaSet before it.
	AwaitPause
	// LabelSets labels the ReplicaSets' templates, which an unpaused Deployment would answer with a rollout.
	LabelSets
	// AwaitSets waits until kube-controller-manager has seen them: its ReplicaSet controller, which says what it has
	// seen in observedGeneration, reads the same informer as its Deployment controller.
	AwaitSets
	// LabelTemplate labels the Deployment's template and ends our pause, in one write: a ReplicaSet equals the
	// template then, so nothing rolls (k8s.io/kubernetes pkg/controller/deployment/util, FindNewReplicaSet).
	LabelTemplate
)

// Next tells the step from what is there, so that an adoption cut short anywhere goes on where it was.
func (a Adoption) Next() AdoptionStep {
	switch {
	case a.Done && a.Ours:
		return LabelTemplate // only our pause is left
	case a.Done:
		return LabelPods
	case a.Ready && a.SetsSeen:
		// Labelled by us, or by an earlier template: a re-apply took the label from a Deployment that had it.
		// Giving it back makes that ReplicaSet the current one again.
		return LabelTemplate
	case a.Labelled || !a.Current && !a.Ready && !a.Paused:
		return LabelTemplate // other pods are to come anyway: there is nothing to keep from a rollout
	case !a.Paused:
		return Pause // also where a re-apply took the label and another ReplicaSet is rolled out already
	case !a.PauseSeen:
		return AwaitPause
	case a.SetsLack:
		return LabelSets
	case !a.SetsSeen:
		return AwaitSets
	}
	return LabelTemplate
}
