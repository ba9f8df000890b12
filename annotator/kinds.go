package annotator

import (
	"encoding/binary"
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/observe"
)

func deploymentKind() kind[*appsv1.Deployment] {
	return builtin("deployments", trimDeployment, indexed(observe.DeploymentsByLabel, observe.ParticipantsByLabel,
		observe.DeploymentsByService, observe.Participants), func() *appsv1.Deployment { return &appsv1.Deployment{} })
}

func podKind() kind[*corev1.Pod] {
	return builtin("pods", trimPod, indexed(observe.PodsByLabel, observe.PodsByOwner), func() *corev1.Pod { return &corev1.Pod{} })
}

func serviceKind() kind[*corev1.Service] {
	return builtin("services", trimService, indexed(observe.ServicesBySelector), func() *corev1.Service { return &corev1.Service{} })
}

// builtin is a kind of Kubernetes' own, packed as the API server stores it.
func builtin[T interface {
	kept
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}](resource string, trim func(T) T, indexes indexes[T], empty func() T) kind[T] {
	return kind[T]{resource: resource, trim: trim, indexes: indexes, pack: T.Marshal, unpack: func(bytes []byte) (T, error) {
		o := empty()
		return o, o.Unmarshal(bytes)
	}}
}

func virtualServiceKind(domain string) kind[*networkingv1.VirtualService] {
	return kind[*networkingv1.VirtualService]{resource: "virtualservices", trim: trimVirtualService, indexes: indexed(observe.ByHost[*networkingv1.VirtualService](domain)),
		pack: func(o *networkingv1.VirtualService) ([]byte, error) { return packIstio(&o.ObjectMeta, &o.Spec) },
		unpack: func(bytes []byte) (*networkingv1.VirtualService, error) {
			o := &networkingv1.VirtualService{}
			return o, unpackIstio(bytes, &o.ObjectMeta, &o.Spec)
		}}
}

func destinationRuleKind(domain string) kind[*networkingv1.DestinationRule] {
	return kind[*networkingv1.DestinationRule]{resource: "destinationrules", trim: trimDestinationRule, indexes: indexed(observe.ByHost[*networkingv1.DestinationRule](domain)),
		pack: func(o *networkingv1.DestinationRule) ([]byte, error) { return packIstio(&o.ObjectMeta, &o.Spec) },
		unpack: func(bytes []byte) (*networkingv1.DestinationRule, error) {
			o := &networkingv1.DestinationRule{}
			return o, unpackIstio(bytes, &o.ObjectMeta, &o.Spec)
		}}
}

func packIstio(meta *metav1.ObjectMeta, spec proto.Message) ([]byte, error) {
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(spec)
	if err != nil {
		return nil, err
	}
	return packMeta(meta, body)
}

// packMeta packs what the API server has as JSON alone: the length of the metadata, the metadata, the spec.
func packMeta(meta *metav1.ObjectMeta, spec []byte) ([]byte, error) {
	head, err := meta.Marshal()
	if err != nil {
		return nil, err
	}
	return slices.Concat(binary.AppendUvarint(nil, uint64(len(head))), head, spec), nil
}

var errCut = errors.New("bytes are missing")

func unpackIstio(bytes []byte, meta *metav1.ObjectMeta, spec proto.Message) error {
	body, err := unpackMeta(bytes, meta)
	if err != nil {
		return err
	}
	return proto.Unmarshal(body, spec)
}

// unpackMeta reads the metadata, and gives the packed spec.
func unpackMeta(bytes []byte, meta *metav1.ObjectMeta) ([]byte, error) {
	length, n := binary.Uvarint(bytes)
	if n <= 0 || length > uint64(len(bytes)-n) {
		return nil, errCut
	}
	bytes = bytes[n:]
	return bytes[length:], meta.Unmarshal(bytes[:length])
}
