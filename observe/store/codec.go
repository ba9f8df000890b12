package store

import (
	"encoding/binary"
	"errors"
	"slices"

	"google.golang.org/protobuf/proto"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// codec packs objects of one kind as bytes. The zero one packs nothing: objects are kept as they are, and shared by all
// who read them.
type codec[T any] struct {
	pack   func(*T) ([]byte, error)
	unpack func([]byte) (*T, error)
}

// protobuf packs one of Kubernetes' kinds as the API server stores it.
func protobuf[T any, P interface {
	*T
	Marshal() ([]byte, error)
	Unmarshal([]byte) error
}]() codec[T] {
	return codec[T]{
		pack: func(o *T) ([]byte, error) { return P(o).Marshal() },
		unpack: func(bytes []byte) (*T, error) {
			o := new(T)
			return o, P(o).Unmarshal(bytes)
		},
	}
}

var virtualServiceCodec = istioCodec(func(o *networkingv1.VirtualService) (*metav1.ObjectMeta, proto.Message) {
	return &o.ObjectMeta, &o.Spec
})

var destinationRuleCodec = istioCodec(func(o *networkingv1.DestinationRule) (*metav1.ObjectMeta, proto.Message) {
	return &o.ObjectMeta, &o.Spec
})

// istioCodec packs one of Istio's kinds, which the API server has as JSON alone: the length of the metadata, the
// metadata, the spec.
func istioCodec[T any](parts func(*T) (*metav1.ObjectMeta, proto.Message)) codec[T] {
	pack := func(o *T) ([]byte, error) {
		meta, spec := parts(o)
		head, err := meta.Marshal()
		if err != nil {
			return nil, err
		}
		body, err := proto.MarshalOptions{Deterministic: true}.Marshal(spec)
		return slices.Concat(binary.AppendUvarint(nil, uint64(len(head))), head, body), err
	}
	unpack := func(bytes []byte) (*T, error) {
		o := new(T)
		meta, spec := parts(o)
		length, n := binary.Uvarint(bytes)
		if n <= 0 || length > uint64(len(bytes)-n) {
			return nil, errTruncated
		}
		bytes = bytes[n:]
		return o, errors.Join(meta.Unmarshal(bytes[:length]), proto.Unmarshal(bytes[length:], spec))
	}
	return codec[T]{pack, unpack}
}

var errTruncated = errors.New("bytes are missing")
