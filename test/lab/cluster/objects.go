package cluster

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"text/template"
	"time"

	"golang.org/x/sync/errgroup"
	"istio.io/istio/manifests"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

var (
	//go:embed objects/access.yaml
	accessObjects []byte
	//go:embed objects/mesh.yaml.tmpl
	meshObjects string
	//go:embed objects/metrics.yaml.tmpl
	metricsObjects string
	//go:embed objects/mesh-config.yaml
	meshConfig []byte
	//go:embed objects/audit.yaml
	auditPolicy []byte
)

const (
	fieldManager = "lab"
	istioCRDs    = "charts/base/files/crd-all.gen.yaml" // in istio.io/istio/manifests
	crdTimeout   = time.Minute
)

// applier applies objects to the lab's API server, server-side, under the field manager "lab".
type applier struct {
	config *rest.Config
	client dynamic.Interface
}

func newApplier(config *rest.Config) (*applier, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	return &applier{config: config, client: client}, nil
}

// applyAccess gives the components their rights and makes Istio's namespace.
func (a *applier) applyAccess(ctx context.Context) error {
	objects, err := decode(accessObjects)
	if err != nil {
		return err
	}
	return a.apply(ctx, objects)
}

// applyIstio installs Istio's CRDs, waits until they are served, and makes what every lab's mesh has.
func (a *applier) applyIstio(ctx context.Context, gatewayHost string, gatewayPort int) error {
	raw, err := fs.ReadFile(manifests.FS, istioCRDs)
	if err != nil {
		return fmt.Errorf("read Istio's CRDs: %w", err)
	}
	crds, err := decode(raw)
	if err != nil {
		return fmt.Errorf("read Istio's CRDs: %w", err)
	}
	if err := a.apply(ctx, crds); err != nil {
		return err
	}
	if err := a.waitEstablished(ctx, len(crds)); err != nil {
		return err
	}
	return a.applyTemplate(ctx, meshObjects, gatewayHost, gatewayPort)
}

// applyTemplate applies objects in which a host and a port are to be filled in.
func (a *applier) applyTemplate(ctx context.Context, objects, host string, port int) error {
	var text bytes.Buffer
	if err := template.Must(template.New("objects").Parse(objects)).Execute(&text, struct {
		Host string
		Port int
	}{host, port}); err != nil {
		return err
	}
	decoded, err := decode(text.Bytes())
	if err != nil {
		return err
	}
	return a.apply(ctx, decoded)
}

// apply writes objects that do not depend on each other, all at once.
func (a *applier) apply(ctx context.Context, objects []*unstructured.Unstructured) error {
	client, err := discovery.NewDiscoveryClientForConfig(a.config)
	if err != nil {
		return err
	}
	groups, err := restmapper.GetAPIGroupResources(client)
	if err != nil {
		return fmt.Errorf("ask the API server for its resources: %w", err)
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	all, ctx := errgroup.WithContext(ctx)
	for _, object := range objects {
		all.Go(func() error { return a.applyOne(ctx, mapper, object) })
	}
	return all.Wait()
}

func (a *applier) applyOne(ctx context.Context, mapper meta.RESTMapper, object *unstructured.Unstructured) error {
	kind := object.GroupVersionKind()
	mapping, err := mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return fmt.Errorf("%s %s: %w", kind.Kind, object.GetName(), err)
	}
	var target dynamic.ResourceInterface = a.client.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		target = a.client.Resource(mapping.Resource).Namespace(object.GetNamespace())
	}
	if _, err := target.Apply(ctx, object.GetName(), object, metav1.ApplyOptions{FieldManager: fieldManager, Force: true}); err != nil {
		return fmt.Errorf("apply %s %s: %w", kind.Kind, object.GetName(), err)
	}
	return nil
}

// waitEstablished waits until the API server serves count CRDs.
func (a *applier) waitEstablished(ctx context.Context, count int) error {
	resource := schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
	established := 0
	err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, crdTimeout, true, func(ctx context.Context) (bool, error) {
		list, err := a.client.Resource(resource).List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		established = 0
		for i := range list.Items {
			if isEstablished(&list.Items[i]) {
				established++
			}
		}
		return established >= count, nil
	})
	if err != nil {
		return fmt.Errorf("%d of Istio's %d CRDs are served: %w", established, count, err)
	}
	return nil
}

func isEstablished(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, one := range conditions {
		condition, _ := one.(map[string]any)
		if condition["type"] == "Established" && condition["status"] == "True" {
			return true
		}
	}
	return false
}

// decode reads a stream of YAML documents; empty ones are left out.
func decode(raw []byte) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	var objects []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(&object.Object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
