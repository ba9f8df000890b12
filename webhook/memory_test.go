package webhook

import (
	"context"
	"fmt"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// memory is a client.Reader over what a test puts into it. Where err is set, all reading fails with it.
type memory struct {
	services    []corev1.Service
	deployments []appsv1.Deployment
	routes      []*networkingv1.VirtualService
	err         error // of everything
	routesErr   error // of reading a VirtualService
}

func (m memory) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	switch l := list.(type) {
	case *corev1.ServiceList:
		l.Items = m.services
	case *appsv1.DeploymentList:
		l.Items = m.deployments
	default:
		return fmt.Errorf("the webhook lists %T", list)
	}
	return m.err
}

func (m memory) Get(_ context.Context, key client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	vs, ok := into.(*networkingv1.VirtualService)
	if !ok {
		return fmt.Errorf("the webhook reads %T", into)
	}
	if m.routesErr != nil {
		return m.routesErr
	}
	for _, r := range m.routes {
		if r.Namespace == key.Namespace && r.Name == key.Name {
			r.DeepCopyInto(vs)
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{Group: "networking.istio.io", Resource: "virtualservices"}, key.Name)
}
