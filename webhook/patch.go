package webhook

import (
	"strings"

	"gomodules.xyz/jsonpatch/v2"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

const (
	pathTemplateMetadata = "/spec/template/metadata"
	pathTemplateLabels   = pathTemplateMetadata + "/labels"
	pathPaused           = "/spec/paused"
	pathAnnotations      = "/metadata/annotations"
	heldValue            = "true"
)

// patch is the JSON Patch (RFC 6902) for a mutation: it sets the version label of the pod template, and the hold. It
// changes nothing else; spec.selector above all stays as it is. For a patched Deployment the patch is empty, because
// the API server may call the webhook again after other webhooks.
func patch(o object, m routing.Mutation) []jsonpatch.Operation {
	var out []jsonpatch.Operation
	if m.Version != "" && o.TemplateLabels[release.VersionLabel] != m.Version {
		out = append(out, label(o, m.Version))
	}
	if !m.Hold {
		return out
	}
	if !o.SpecPaused {
		out = append(out, jsonpatch.NewOperation("add", pathPaused, true))
	}
	if o.Annotations[intent.KeyHeld] == "" {
		out = append(out, member(o.annotated, pathAnnotations, intent.KeyHeld, heldValue))
	}
	return out
}

func label(o object, version string) jsonpatch.Operation {
	if !o.metadataOfTemplate {
		labels := map[string]string{release.VersionLabel: version}
		return jsonpatch.NewOperation("add", pathTemplateMetadata, map[string]any{"labels": labels})
	}
	return member(o.labelled, pathTemplateLabels, release.VersionLabel, version)
}

// member adds a key to the map at the path, or creates the map where there is none.
func member(exists bool, path, key, value string) jsonpatch.Operation {
	if !exists {
		return jsonpatch.NewOperation("add", path, map[string]string{key: value})
	}
	// RFC 6901: a slash inside a key is written ~1, a tilde ~0.
	return jsonpatch.NewOperation("add", path+"/"+strings.NewReplacer("~", "~0", "/", "~1").Replace(key), value)
}
