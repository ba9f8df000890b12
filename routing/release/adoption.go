package release

// Adoption describes how far a running Deployment is on its way to the version label without a restart. All of it is
// read from the API server: no step may rely on a cache that lags behind.
type Adoption struct {
	// Labelled: the Deployment's template has a version label; Done: it is the wanted one.
	Labelled, Done bool
	// Paused is spec.paused; Ours: this adoption set it.
	Paused, Ours bool
	// PauseSeen: the Deployment controller has seen the current Deployment (status.observedGeneration).
	PauseSeen bool
	// Current: a ReplicaSet equals the current template; Ready: one equals it as it will be with the label.
	Current, Ready bool
	// SetsLack: a ReplicaSet that has pods, or is about to, lacks the label.
	SetsLack bool
	// SetsSeen: kube-controller-manager has seen the current state of every ReplicaSet.
	SetsSeen bool
}

// AdoptionStep is what an adoption needs next.
type AdoptionStep int

const (
	// LabelPods labels the pods, once the template has the label: nothing else can lack it then.
	LabelPods AdoptionStep = iota
	// Pause pauses the Deployment, so that its controller starts no rollout while ReplicaSet and template differ.
	Pause
	// AwaitPause waits until the Deployment controller has seen the pause. It watches Deployments and ReplicaSets
	// separately, and must not see a labelled ReplicaSet before the pause.
	AwaitPause
	// LabelSets labels the ReplicaSets' templates. The Deployment controller would start a rollout for that if it were
	// not paused.
	LabelSets
	// AwaitSets waits until kube-controller-manager has seen the labelled ReplicaSets. Its ReplicaSet controller
	// reports in observedGeneration what it has seen, and shares the informer with the Deployment controller.
	AwaitSets
	// LabelTemplate labels the Deployment's template and ends our pause, in one write. A ReplicaSet equals the template
	// then, so nothing rolls (k8s.io/kubernetes pkg/controller/deployment/util, FindNewReplicaSet).
	LabelTemplate
)

// Next derives the step from what exists, so an adoption that was interrupted goes on where it was.
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
		return LabelTemplate // new pods come anyway, so there is no rollout to avoid
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
