package main

import (
	"context"
	"fmt"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// user has no account on any node. The chart's Deployment runs as the same user.
const user = "65532:65532"

// refName is the annotation that holds a layout's tag
// (https://github.com/opencontainers/image-spec/blob/main/annotations.md#pre-defined-annotation-keys).
const refName = "org.opencontainers.image.ref.name"

// labels describe the content, with the keys of the image specification.
func labels(r request) map[string]string {
	out := map[string]string{
		"org.opencontainers.image.title":       "grayscale",
		"org.opencontainers.image.description": "Grayscale releases on plain Kubernetes Deployments, by annotations alone, routed by Istio",
		"org.opencontainers.image.licenses":    "Apache-2.0",
		"org.opencontainers.image.version":     r.version,
	}
	if r.revision != "" {
		out["org.opencontainers.image.revision"] = r.revision
	}
	return out
}

// build makes the image of every architecture, and the index over them.
func build(ctx context.Context, r request) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range architectures {
		image, err := buildOne(ctx, r, architecture)
		if err != nil {
			return nil, fmt.Errorf("linux/%s: %w", architecture, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}}})
	}
	return index, nil
}

func buildOne(ctx context.Context, r request, architecture string) (v1.Image, error) {
	binary, err := compile(ctx, r, architecture)
	if err != nil {
		return nil, err
	}
	content, err := layer(binary, r.licenses, r.created)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{Layer: content,
		History: v1.History{CreatedBy: "hack/image", Created: v1.Time{Time: r.created}}})
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", architecture, v1.Time{Time: r.created}
	config.Config = v1.Config{User: user, WorkingDir: "/", Entrypoint: []string{"/grayscale"}, Labels: labels(r),
		ExposedPorts: map[string]struct{}{"9443/tcp": {}, "8080/tcp": {}, "8081/tcp": {}}}
	return mutate.ConfigFile(image, config)
}

// write replaces the layout, tagged with the version, and returns the digest of the index, which is also its digest in
// a registry.
func write(dir string, index v1.ImageIndex, version string) (string, error) {
	if err := os.RemoveAll(dir); err != nil {
		return "", err
	}
	to, err := layout.Write(dir, empty.Index)
	if err != nil {
		return "", err
	}
	if err := to.AppendIndex(index, layout.WithAnnotations(map[string]string{refName: version})); err != nil {
		return "", err
	}
	digest, err := index.Digest()
	return digest.String(), err
}
