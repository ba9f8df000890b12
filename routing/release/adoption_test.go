package release_test

import (
	"testing"

	"grayscale.dev/grayscale/routing/release"
)

// TestAdoption: the next step from every point at which an adoption may have been interrupted.
func TestAdoption(t *testing.T) {
	for _, c := range []struct {
		name string
		is   release.Adoption
		want release.AdoptionStep
	}{
		{"nothing is done", release.Adoption{Current: true}, release.Pause},
		{"paused, not seen", release.Adoption{Current: true, Paused: true, Ours: true, SetsLack: true}, release.AwaitPause},
		{"the pause is seen", release.Adoption{Current: true, Paused: true, Ours: true, PauseSeen: true, SetsLack: true}, release.LabelSets},
		{"the ReplicaSet has the label", release.Adoption{Paused: true, Ours: true, PauseSeen: true, Ready: true}, release.AwaitSets},
		{"that is seen", release.Adoption{Paused: true, Ours: true, PauseSeen: true, Ready: true, SetsSeen: true}, release.LabelTemplate},
		{"the template has it", release.Adoption{Labelled: true, Done: true, Ready: true, SetsSeen: true}, release.LabelPods},
		{"only our pause is left", release.Adoption{Labelled: true, Done: true, Ours: true, Paused: true}, release.LabelTemplate},
		{"the user has paused it", release.Adoption{Current: true, Paused: true, PauseSeen: true, SetsLack: true}, release.LabelSets},
		{"no ReplicaSet is the template's", release.Adoption{}, release.LabelTemplate},
		{"another label is there", release.Adoption{Labelled: true, Current: true}, release.LabelTemplate},
		{"a re-apply took the label, and the ReplicaSet has it", release.Adoption{Ready: true, SetsSeen: true, Current: true}, release.LabelTemplate},
	} {
		if got := c.is.Next(); got != c.want {
			t.Errorf("%s: step %d, want %d", c.name, got, c.want)
		}
	}
}
