package intent

import (
	"fmt"
	"slices"
	"strings"
)

// Bounds of Kubernetes, see https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and
// https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/.
const (
	maxServiceName    = 63
	maxDeploymentName = 253
	maxLabelValue     = 63
)

const empty = "which is empty"

func setStrategy(i *Intent, value string) *Flaw {
	switch s := Strategy(value); s {
	case Canary, BlueGreen, Mirror:
		i.Strategy = s
		return nil
	case none:
		return &Flaw{empty, "set one of them, or remove the annotation to end the release"}
	}
	names := make([]string, 0, len(onCandidate))
	for _, s := range onCandidate {
		names = append(names, string(s))
	}
	if near := nearest(value, names); near != "" {
		return &Flaw{"which is no strategy", fmt.Sprintf("did you mean %q?", near)}
	}
	return &Flaw{"which is no strategy", "set one of them"}
}

func setBool(to *bool, value string) *Flaw {
	switch value {
	case "true":
		*to = true
		return nil
	case "false":
		*to = false
		return nil
	case "":
		return &Flaw{empty, `write "true" or "false", or remove the annotation`}
	}
	fix := `write "true" or "false"`
	if len(value) <= maxShown {
		switch strings.ToLower(strings.TrimSpace(value)) {
		case "true", "t", "yes", "y", "on", "1":
			fix = `write "true"`
		case "false", "f", "no", "n", "off", "0":
			fix = `write "false"`
		}
	}
	return &Flaw{"which is neither of the two values", fix}
}

// Services are those that the annotations name, in their order, each once, valid or not; none where they name none.
func Services(annotations map[string]string) []string {
	value := annotations[KeyService]
	if value == "" {
		return nil
	}
	var out []string
	for _, name := range serviceNames(value) {
		if name != "" && !slices.Contains(out, name) && len(out) < mostServices {
			out = append(out, name)
		}
	}
	return out
}

func serviceNames(value string) []string {
	names := strings.Split(value, ",")
	for n := range names {
		names[n] = strings.Trim(names[n], " ")
	}
	return names
}

// mostServices is how many Services one Deployment may be released behind. All of them are decided together, each time that
// anything of one changes.
const mostServices = 16

// setService takes names that Kubernetes takes for Services, with commas between them.
func setService(i *Intent, value string) *Flaw {
	names := serviceNames(value)
	switch {
	case len(names) == 1 && !isServiceName(value):
		return serviceFlaw(value)
	case len(names) > mostServices:
		return &Flaw{fmt.Sprintf("which names %d Services, more than %d", len(names), mostServices), "name fewer"}
	}
	for n, name := range names {
		switch {
		case name == "":
			return &Flaw{"which has a comma without a name beside it", withoutRepetition(names)}
		case !isServiceName(name):
			return entryFlaw(names, n)
		case slices.Contains(names[:n], name):
			return &Flaw{fmt.Sprintf("which names %q twice", name), withoutRepetition(names)}
		}
	}
	i.Service = JoinServices(names)
	return nil
}

// entryFlaw says what is wrong with one of several names, and proposes the whole list with that one mended.
func entryFlaw(names []string, n int) *Flaw {
	flaw := serviceFlaw(names[n])
	what, ok := strings.CutPrefix(flaw.What, "which ")
	if !ok {
		what = "is none: " + strings.TrimPrefix(flaw.What, "but ")
	}
	fix := fmt.Sprintf("%s in place of %s", flaw.Fix, quote(names[n]))
	if proposal, ok := strings.CutPrefix(flaw.Fix, `write "`); ok {
		better := slices.Clone(names)
		better[n] = strings.TrimSuffix(proposal, `"`)
		fix = withoutRepetition(better)
	}
	return &Flaw{fmt.Sprintf("of which %s %s", quote(names[n]), what), fix}
}

// JoinServices lists names as messages do.
func JoinServices(names []string) string { return strings.Join(names, ", ") }

// withoutRepetition proposes the list with each of its valid names once.
func withoutRepetition(names []string) string {
	var once []string
	for _, name := range names {
		if isServiceName(name) && !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	if len(once) == 0 {
		return "write a name, or remove the annotation"
	}
	return fmt.Sprintf("write %q", JoinServices(once))
}

// serviceFlaw says why a text is no name of a Service. Kubernetes 1.37 takes a DNS label that may begin with a digit.
func serviceFlaw(value string) *Flaw {
	if strings.ContainsAny(value, "./") {
		// The name stands before the first dot of a host, or behind a namespace and a slash.
		name, _, _ := strings.Cut(value[strings.LastIndexByte(value, '/')+1:], ".")
		return &Flaw{"but only Services of the same namespace can be released",
			mended(name, "-", isServiceName, "write the Service's name alone")}
	}
	return nameFlaw(value, maxServiceName, "-", isServiceName)
}

func setStable(i *Intent, value string) *Flaw {
	if isDeploymentName(value) {
		i.Stable = value
		return nil
	}
	if slash := strings.LastIndexByte(value, '/'); slash >= 0 {
		return &Flaw{"but only a Deployment of the same namespace can be stable",
			mended(value[slash+1:], "-.", isDeploymentName, "write the Deployment's name alone")}
	}
	return nameFlaw(value, maxDeploymentName, "-.", isDeploymentName)
}

func setVersion(i *Intent, value string) *Flaw {
	if isLabelValue(value) {
		i.Version = value
		return nil
	}
	switch {
	case value == "":
		return &Flaw{empty, "name the version, or remove the annotation"}
	case len(value) > maxLabelValue:
		return tooLong(value, maxLabelValue)
	}
	return &Flaw{"which cannot be a label's value", mended(value, "-_.", isLabelValue, `write a value like "v2"`)}
}

func nameFlaw(value string, longest int, inner string, valid func(string) bool) *Flaw {
	switch {
	case value == "":
		return &Flaw{empty, "write a name, or remove the annotation"}
	case len(value) > longest:
		return tooLong(value, longest)
	}
	return &Flaw{"which cannot be a name in Kubernetes", mended(strings.ToLower(value), inner, valid, "write the name as kubectl get shows it")}
}

func tooLong(value string, longest int) *Flaw {
	return &Flaw{fmt.Sprintf("which is %d bytes long, more than %d", len(value), longest), "write a shorter one"}
}

// mended proposes the value with a dash for everything that is not allowed in it, where that makes it valid; else
// it gives the other fix.
func mended(value, inner string, valid func(string) bool, other string) string {
	if len(value) > maxShown {
		return other
	}
	tried := strings.Map(func(r rune) rune {
		if r < 0x80 && (isAlphanumeric(byte(r)) || strings.ContainsRune(inner, r)) {
			return r
		}
		return '-'
	}, strings.TrimSpace(value))
	if tried = strings.Trim(tried, "-_."); valid(tried) {
		return fmt.Sprintf("write %q", tried)
	}
	return other
}

func isServiceName(s string) bool {
	return len(s) <= maxServiceName && isWord(s, "-") && isLower(s)
}

// isDeploymentName: DNS labels joined by dots.
func isDeploymentName(s string) bool {
	if len(s) > maxDeploymentName || !isLower(s) {
		return false
	}
	for {
		label, rest, more := strings.Cut(s, ".")
		if !isWord(label, "-") {
			return false
		}
		if !more {
			return true
		}
		s = rest
	}
}

func isLabelValue(s string) bool {
	return len(s) <= maxLabelValue && isWord(s, "-_.")
}

// isWord reports whether s is not empty and made of ASCII letters and digits, with bytes of inner only between them.
func isWord(s, inner string) bool {
	if s == "" || !isAlphanumeric(s[0]) || !isAlphanumeric(s[len(s)-1]) {
		return false
	}
	for n := range len(s) {
		if !isAlphanumeric(s[n]) && strings.IndexByte(inner, s[n]) < 0 {
			return false
		}
	}
	return true
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z'
}

func isLower(s string) bool {
	for n := range len(s) {
		if 'A' <= s[n] && s[n] <= 'Z' {
			return false
		}
	}
	return true
}
