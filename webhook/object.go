package webhook

import (
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/release"
)

// paths are all that is read of a Deployment at the door. gjson skips what is between them, which is most of a 10 KB
// object: decoding it whole takes several times as long as deciding.
const (
	pathName           = "metadata.name"
	pathCreated        = "metadata.creationTimestamp"
	pathDeleted        = "metadata.deletionTimestamp"
	pathAnnotations    = "metadata.annotations"
	pathReplicas       = "spec.replicas"
	pathPaused         = "spec.paused"
	pathSelector       = "spec.selector.matchLabels"
	pathTemplate       = "spec.template"
	pathTemplateLabels = "spec.template.metadata.labels"
)

// deployment reads the facts of a Deployment from its JSON, without its pods.
func deployment(raw []byte) release.Deployment {
	d := release.Deployment{
		Name:           gjson.GetBytes(raw, pathName).String(),
		TemplateLabels: stringsAt(raw, pathTemplateLabels, ""),
		Selector:       stringsAt(raw, pathSelector, ""),
		Annotations:    stringsAt(raw, pathAnnotations, intent.Prefix),
		SpecPaused:     gjson.GetBytes(raw, pathPaused).Bool(),
		Deleting:       gjson.GetBytes(raw, pathDeleted).Exists(),
		Replicas:       1,
	}
	if n := gjson.GetBytes(raw, pathReplicas); n.Exists() {
		d.Replicas = int32(n.Int())
	}
	if t, err := time.Parse(time.RFC3339, gjson.GetBytes(raw, pathCreated).String()); err == nil {
		d.CreatedAt = t
	}
	return d
}

// stringsAt reads a map of strings, of which it keeps the keys with the prefix; nil where there are none.
func stringsAt(raw []byte, path, prefix string) map[string]string {
	var out map[string]string
	gjson.GetBytes(raw, path).ForEach(func(key, value gjson.Result) bool {
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

// sameTemplate compares two pod templates, the version label aside. The API server writes both in one order of fields, so
// equal templates are equal text but for that label.
func sameTemplate(a, b []byte) (bool, error) {
	x, y := gjson.GetBytes(a, pathTemplate).Raw, gjson.GetBytes(b, pathTemplate).Raw
	if x == y {
		return true, nil
	}
	p, err := withoutVersion(x)
	if err != nil {
		return false, err
	}
	q, err := withoutVersion(y)
	return reflect.DeepEqual(p, q), err
}

func withoutVersion(template string) (map[string]any, error) {
	var t map[string]any
	if err := json.Unmarshal([]byte(template), &t); err != nil {
		return nil, err
	}
	if meta, ok := t["metadata"].(map[string]any); ok {
		if labels, ok := meta["labels"].(map[string]any); ok {
			delete(labels, release.VersionLabel)
		}
	}
	return t, nil
}
