package harness

import (
	istio "istio.io/client-go/pkg/clientset/versioned"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Config is the administrator's access to the lab's API server; the caller may change its copy.
func Config() *rest.Config { return rest.CopyConfig(current().config) }

// Kube is the administrator's client of Kubernetes' own objects.
func Kube() kubernetes.Interface { return current().kube }

// Istio is the administrator's client of Istio's objects.
func Istio() istio.Interface { return current().istio }
