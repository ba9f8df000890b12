package e2e

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"grayscale.dev/grayscale/test/harness"
)

// probes makes the readiness probes of a Deployment's pods fail or succeed.
func (s story) probes(deployment string, succeed bool) {
	s.T.Helper()
	s.Probes("instance="+deployment, succeed)
}

// scale sets spec.replicas through the scale subresource, as an autoscaler does.
func (s story) scale(deployment string, replicas int32) {
	s.T.Helper()
	api := harness.Kube().AppsV1().Deployments(s.NS)
	if err := retry.RetryOnConflict(retry.DefaultRetry, func() error { // as an autoscaler does
		scale, err := api.GetScale(context.Background(), deployment, metav1.GetOptions{})
		if err != nil {
			return err
		}
		scale.Spec.Replicas = replicas
		_, err = api.UpdateScale(context.Background(), deployment, scale, metav1.UpdateOptions{})
		return err
	}); err != nil {
		s.T.Fatal(err)
	}
}
