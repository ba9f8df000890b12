package pods

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/kubernetes/pkg/probe"
	httpprobe "k8s.io/kubernetes/pkg/probe/http"
)

// readinessFirstPeriod is how often a process is asked until it is ready for the first time: a lab should not wait for
// a probe's period, which a kubelet does not either (it probes at once after a start).
const readinessFirstPeriod = 200 * time.Millisecond

// prober asks one httpGet probe over and over.
type prober struct {
	spec      *corev1.Probe
	container *corev1.Container
	host      string
	client    httpprobe.Prober
}

// newProber is false for an absent probe and for one that is not httpGet, which the lab does not know.
func newProber(spec *corev1.Probe, container *corev1.Container, host string) (*prober, bool) {
	if spec == nil || spec.HTTPGet == nil {
		return nil, false
	}
	return &prober{spec: spec, container: container, host: host, client: httpprobe.New(false)}, true
}

// run reports true after successThreshold successes in a row and false after failureThreshold failures in a row, each
// time anew, until ctx is done. Before the first success it asks every firstPeriod, when that is not 0, without
// counting failures.
func (p *prober) run(ctx context.Context, firstPeriod time.Duration, report func(ok bool)) {
	period := seconds(p.spec.PeriodSeconds, 10)
	wait, succeeded := seconds(p.spec.InitialDelaySeconds, 0), firstPeriod == 0
	successes, failures := int32(0), int32(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = period
		if p.once() {
			successes, failures, succeeded = successes+1, 0, true
			if successes >= max(p.spec.SuccessThreshold, 1) {
				report(true)
			}
			continue
		}
		successes, failures = 0, failures+1
		if !succeeded {
			wait, failures = firstPeriod, 0
		}
		if failures >= atLeastOne(p.spec.FailureThreshold, 3) && ctx.Err() == nil {
			report(false)
			failures = 0
		}
	}
}

// once asks once; like a kubelet it takes a redirect to another host for a success.
func (p *prober) once() bool {
	request, err := httpprobe.NewRequestForHTTPGetAction(p.spec.HTTPGet, p.container, p.host, "probe")
	if err != nil {
		return false
	}
	// The error repeats what a result other than Success says.
	result, _, _ := p.client.Probe(request, seconds(p.spec.TimeoutSeconds, 1))
	return result == probe.Success || result == probe.Warning
}

func seconds(n int32, otherwise int32) time.Duration {
	return time.Duration(atLeastOne(n, otherwise)) * time.Second
}

func atLeastOne(n, otherwise int32) int32 {
	if n < 1 {
		return otherwise
	}
	return n
}
