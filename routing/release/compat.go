package release

import "grayscale.dev/grayscale/routing/intent"

func IsHeld(d Deployment) bool { return d.IsHeld() }

func IsCandidate(d Deployment) bool { return d.IsCandidate() }

func IsBeingAdopted(d Deployment) bool { return d.IsBeingAdopted() }

func Behind(s Service, d Deployment) bool { return s.Selects(&d) }

func VersionOf(namespace, service string, d Deployment) (string, []intent.Problem) {
	return labelOf(namespace, &d, Placed{Services: []string{service}, Author: service})
}
