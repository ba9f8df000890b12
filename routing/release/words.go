package release

import (
	"fmt"
	"slices"
	"strings"
)

// Reasons of problems that depend on more than one Deployment's annotations.
const (
	ReasonNoService        = "NoService"
	ReasonAmbiguousService = "AmbiguousService"
	ReasonServiceMismatch  = "ServiceDoesNotSelect"
	ReasonNoStable         = "NoStable"
	ReasonAmbiguousStable  = "AmbiguousStable"
	ReasonStableConflict   = "StableConflict"
	ReasonVersionConflict  = "VersionConflict"
	ReasonVersionMismatch  = "VersionMismatch"
	ReasonInvalidVersion   = "InvalidVersion"
	ReasonWeightConflict   = "WeightConflict"
	ReasonSelectorsOverlap = "SelectorsOverlap"
	ReasonLeftOut          = "LeftOut"
)

const (
	maxLabelValue         = 63 // k8s.io/apimachinery/pkg/util/validation.LabelValueMaxLength
	maxNamesInOneSentence = 5
)

// Object names a Deployment in messages.
func Object(namespace, name string) string { return "Deployment " + namespace + "/" + name }

func selectorText(selector map[string]string) string {
	parts := make([]string, 0, len(selector))
	for k, v := range selector {
		parts = append(parts, k+"="+v)
	}
	slices.Sort(parts)
	return strings.Join(parts, ",")
}

// Enumerate lists a few names: a message must stay one sentence however many objects there are.
func Enumerate(names []string) string {
	if len(names) > maxNamesInOneSentence {
		first := strings.Join(names[:maxNamesInOneSentence], ", ")
		return fmt.Sprintf("%s and %d more", first, len(names)-maxNamesInOneSentence)
	}
	return strings.Join(names, ", ")
}
