package release

import (
	"fmt"
	"slices"

	"grayscale.dev/grayscale/routing/intent"
)

// versionTaken: the version belongs to stable, to a candidate that routes have followed under it, or to an older
// candidate.
func (b behind) versionTaken(v *Version, r Roles) []intent.Problem {
	holder := ""
	if r.Stable.Deployment != "" && r.Stable.Version == v.Label {
		holder = r.Stable.Deployment
	}
	followed := func(x *Version) bool { return b.state.Follows(x.Name, v.Label) }
	for _, o := range b.byAge {
		if o.Label != v.Label || o.Name == v.Name || r.IsStable(o.Name) || !o.HasStrategy() {
			continue
		}
		if followed(o) && !followed(v) || followed(o) == followed(v) && older(o, v) < 0 {
			holder = o.Name
		}
	}
	if holder == "" || v.Label == "" {
		return nil
	}
	return []intent.Problem{{Key: intent.KeyVersion, Kind: intent.Conflict, Reason: ReasonVersionConflict,
		Message: fmt.Sprintf("%s has version %q, which is that of %s behind Service %s already",
			b.object(v.Name), v.Label, b.object(holder), b.service.Name),
		Fix: fmt.Sprintf("set %s and the pod template's version label to another value", intent.KeyVersion)}}
}

// otherStable: the candidate names Deployments other than those that are stable. If it names several, some may be gone
// by now.
func (b behind) otherStable(v *Version, r Roles) []intent.Problem {
	if len(v.stables) == 0 || r.Stable.Deployment == "" {
		return nil
	}
	wrong := slices.DeleteFunc(slices.Clone(v.stables), r.IsStable)
	if len(wrong) < len(v.stables) {
		wrong = slices.DeleteFunc(wrong, func(name string) bool { d := b.named(name); return d == nil || !d.exists() })
	}
	if len(wrong) == 0 {
		return nil
	}
	other := slices.DeleteFunc(slices.Clone(wrong), func(name string) bool {
		d := b.named(name)
		return d != nil && d.Label == r.Stable.Version
	})
	if len(other) > 0 {
		wrong = other
	}
	verb := "is"
	if len(r.Also) > 0 {
		verb = "are"
	}
	right := intent.JoinNames(append([]string{r.Stable.Deployment}, r.Also...))
	return []intent.Problem{{Key: intent.KeyStable, Kind: intent.Conflict, Reason: ReasonStableConflict,
		Message: fmt.Sprintf("%s names %q in %s, but %s %s stable behind Service %s, as version %q",
			b.object(v.Name), intent.JoinNames(wrong), intent.KeyStable, r.StableObjects(b.service.Namespace), verb,
			b.service.Name, r.Stable.Version),
		Fix: fmt.Sprintf("name %q, or finish its release first;"+
			" only Deployments with the same version label are stable together", right)}}
}

// resolveWeights gives the older candidates what they ask for as long as it adds up to at most 100. A younger one that
// exceeds this keeps its last good share if that fits, else it gets none.
func (b behind) resolveWeights(candidates []*Candidate) {
	var sum intent.Percent
	for _, c := range candidates {
		if ask := c.Followed.Share(); sum+ask > intent.Hundred {
			c.Wrong = append(c.Wrong, b.weightConflict(c, intent.Hundred-sum))
			c.Followed = b.state.lastGood(c.Name, c.Label)
			if sum+c.Followed.Share() > intent.Hundred {
				c.Followed = intent.Intent{}
			}
		}
		sum += c.Followed.Share()
	}
}

func (b behind) weightConflict(c *Candidate, rest intent.Percent) intent.Problem {
	strategy := c.Followed.Strategy
	return intent.Problem{Key: strategy.Key(), Kind: intent.Conflict, Reason: ReasonWeightConflict,
		Message: fmt.Sprintf("%s asks for %s of Service %s, but older candidates leave it %s",
			b.object(c.Name), c.Followed.Share(), b.service.Name, rest),
		Fix: strategy.TakeLess()}
}

func (b behind) object(name string) string { return Object(b.service.Namespace, name) }

// named finds the version of a Deployment; nil if it is not behind the Service.
func (b behind) named(name string) *Version {
	for _, v := range b.byAge {
		if v.Name == name {
			return v
		}
	}
	return nil
}
