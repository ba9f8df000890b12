package webhook

import (
	"maps"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// object is what is read of a Deployment at admission. The rest of its JSON, which is most of it, is not decoded: that
// would take several times as long as the decision.
type object struct {
	release.Deployment
	// annotated and labelled: metadata.annotations and the template's metadata.labels exist, so a patch can add to them.
	annotated, labelled bool
	// metadataOfTemplate: spec.template.metadata exists.
	metadataOfTemplate bool
	// template is the JSON of the pod template, and labels is the part of it with the labels.
	template, labels string
}

// read reads a Deployment's JSON as the API server sends it. A field of a wrong type counts as absent: the API server's
// own validation follows and names it.
func read(raw []byte) object {
	o := object{Deployment: release.Deployment{Replicas: 1}}
	gjson.ParseBytes(raw).ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "metadata":
			o.readMetadata(value)
		case "spec":
			o.readSpec(value)
			return false // status comes after it and does not matter here
		}
		return true
	})
	return o
}

func (o *object) readMetadata(metadata gjson.Result) {
	metadata.ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "name":
			o.Name = value.String()
		case "uid":
			o.UID = value.String()
		case "creationTimestamp":
			o.CreatedAt, _ = time.Parse(time.RFC3339, value.String()) // null before the first write: then it stays the zero time
		case "deletionTimestamp":
			o.Deleting = value.Type == gjson.String
		case "annotations":
			o.annotated = value.IsObject()
			o.Annotations = mapOf(value, intent.Prefix)
		}
		return true
	})
}

func (o *object) readSpec(spec gjson.Result) {
	spec.ForEach(func(key, value gjson.Result) bool {
		switch key.Str {
		case "replicas":
			o.Replicas = int32(value.Int())
		case "paused":
			o.SpecPaused = value.Bool()
		case "selector":
			o.Selector = mapOf(value.Get("matchLabels"), "")
		case "template":
			o.template = value.Raw
			o.readTemplate(value)
		}
		return true
	})
}

func (o *object) readTemplate(template gjson.Result) {
	template.ForEach(func(key, value gjson.Result) bool {
		if key.Str != "metadata" {
			return true
		}
		o.metadataOfTemplate = value.IsObject()
		labels := value.Get("labels")
		o.labelled, o.labels = labels.IsObject(), labels.Raw
		o.TemplateLabels = mapOf(labels, "")
		return false
	})
}

// mapOf reads the members of a JSON object whose keys have the prefix. It is nil where there are none.
func mapOf(values gjson.Result, prefix string) map[string]string {
	var out map[string]string
	values.ForEach(func(key, value gjson.Result) bool {
		if strings.HasPrefix(key.Str, prefix) {
			if out == nil {
				out = map[string]string{}
			}
			out[key.Str] = value.String()
		}
		return true
	})
	return out
}

// sameTemplate reports whether two pod templates differ in nothing but the version label. The API server sends both
// with all defaults and in one order of fields, so equal templates are equal text around their labels.
func sameTemplate(a, b object) bool {
	if a.template == b.template {
		return true
	}
	beforeA, afterA, _ := strings.Cut(a.template, a.labels)
	beforeB, afterB, _ := strings.Cut(b.template, b.labels)
	return beforeA == beforeB && afterA == afterB &&
		maps.Equal(withoutVersion(a.TemplateLabels), withoutVersion(b.TemplateLabels))
}

func withoutVersion(labels map[string]string) map[string]string {
	if _, has := labels[release.VersionLabel]; !has {
		return labels
	}
	labels = maps.Clone(labels)
	delete(labels, release.VersionLabel)
	return labels
}
