package pods

import (
	"istio.io/istio/pkg/config/kube"
	"istio.io/istio/pkg/config/protocol"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/endpointslice"
)

// speaksTCP says whether the app speaks plain TCP, not HTTP, on a container port. The Services that select the Pod
// decide, as they do for istiod; a port that no Service reaches goes by its own name. Istio's own conversion reads the
// names. A port without protocol is HTTP: the app cannot sniff, for on a TCP port it is the one who speaks first. A
// Service's UDP port says nothing about the TCP port of the same number.
func speaksTCP(pod *corev1.Pod, port corev1.ContainerPort, services []*corev1.Service) bool {
	reached := false
	for _, service := range services {
		if len(service.Spec.Selector) == 0 || !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			continue
		}
		for _, servicePort := range service.Spec.Ports {
			target, err := endpointslice.FindPort(pod, &servicePort)
			if servicePort.Protocol != corev1.ProtocolTCP || err != nil || int32(target) != port.ContainerPort {
				continue
			}
			reached = true
			if isTCP(kube.ConvertProtocol(servicePort.Port, servicePort.Name, servicePort.Protocol, servicePort.AppProtocol)) {
				return true
			}
		}
	}
	return !reached && isTCP(kube.ConvertProtocol(port.ContainerPort, port.Name, port.Protocol, nil))
}

func isTCP(p protocol.Instance) bool {
	return p != protocol.Unsupported && !p.IsHTTP()
}
