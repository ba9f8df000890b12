package admission

import (
	"fmt"

	"grayscale.dev/grayscale/routing/release"
)

// certainly is how many answers in a row prove that both replicas of the webhook know: the API server chooses one at
// random.
const certainly = 8

// knows fails while a replica of the webhook does not know the Service yet.
func (d *door) knows(service string) error {
	for range certainly {
		made, err := d.dryCreate(candidate(service + "-probe"))
		if err != nil {
			return err
		}
		if got := made.Spec.Template.Labels[release.VersionLabel]; got != "probe" {
			return fmt.Errorf("a candidate %s-probe gets the version label %q", service, got)
		}
	}
	d.warned()
	return nil
}

// knowsDeployment fails while a replica of the webhook does not know that another Deployment has the version already.
func (d *door) knowsDeployment(version string) error {
	for range certainly {
		if _, err := d.dryCreate(candidate("web-probe", "version", version)); err == nil {
			return fmt.Errorf("a second Deployment with version %s is admitted", version)
		}
	}
	d.warned()
	return nil
}
