package intent

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of Kubernetes, see https://kubernetes.io/docs/concepts/overview/working-with-objects/names/ and
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

// Services are those that the annotations name, in that order, without duplicates, valid or not.
func Services(annotations map[string]string) []string { return services.in(annotations[KeyService]) }

// Stables are the Deployments that the annotations name as stable, in that order, without duplicates, valid or not.
func Stables(annotations map[string]string) []string { return stables.in(annotations[KeyStable]) }

// JoinNames lists names in the form that messages use.
func JoinNames(names []string) string { return strings.Join(names, ", ") }

// list reads a value with several names, separated by commas.
type list struct {
	kind  string // what the names are names of
	most  int
	valid func(name string) bool
	flaw  func(name string) *Flaw
}

// Services that are named together are decided together, whenever anything changes for one of them: hence at most 16.
// As many Deployments are enough for one version.
var (
	services = list{"Services", 16, isServiceName, serviceFlaw}
	stables  = list{"Deployments", 16, isDeploymentName, stableFlaw}
)

func setService(i *Intent, value string) *Flaw { return services.set(&i.Service, value) }

func setStable(i *Intent, value string) *Flaw { return stables.set(&i.Stable, value) }

// in returns the names in a value, without duplicates.
func (l list) in(value string) []string {
	if value == "" {
		return nil
	}
	var out []string
	for _, name := range split(value) {
		if name != "" && !slices.Contains(out, name) && len(out) < l.most {
			out = append(out, name)
		}
	}
	return out
}

func split(value string) []string {
	names := strings.Split(value, ",")
	for n := range names {
		names[n] = strings.Trim(names[n], " ")
	}
	return names
}

// set stores a value if all of its names are valid.
func (l list) set(to *string, value string) *Flaw {
	names := split(value)
	switch {
	case len(names) == 1 && !l.valid(value):
		return l.flaw(value)
	case len(names) > l.most:
		return &Flaw{fmt.Sprintf("which names %d %s, more than %d", len(names), l.kind, l.most), "name fewer"}
	}
	for n, name := range names {
		switch {
		case name == "":
			return &Flaw{"which has a comma without a name beside it", l.once(names)}
		case !l.valid(name):
			return l.entryFlaw(names, n)
		case slices.Contains(names[:n], name):
			return &Flaw{fmt.Sprintf("which names %q twice", name), l.once(names)}
		}
	}
	*to = JoinNames(names)
	return nil
}

// entryFlaw says what is wrong with one of several names, and proposes the whole list with that name corrected.
func (l list) entryFlaw(names []string, n int) *Flaw {
	flaw := l.flaw(names[n])
	what, ok := strings.CutPrefix(flaw.What, "which ")
	if !ok {
		what = "is none: " + strings.TrimPrefix(flaw.What, "but ")
	}
	fix := fmt.Sprintf("%s in place of %s", flaw.Fix, quote(names[n]))
	if proposal, ok := strings.CutPrefix(flaw.Fix, `write "`); ok {
		better := slices.Clone(names)
		better[n] = strings.TrimSuffix(proposal, `"`)
		fix = l.once(better)
	}
	return &Flaw{fmt.Sprintf("of which %s %s", quote(names[n]), what), fix}
}

// once proposes the list with each of its valid names once.
func (l list) once(names []string) string {
	var once []string
	for _, name := range names {
		if l.valid(name) && !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	if len(once) == 0 {
		return "write a name, or remove the annotation"
	}
	return fmt.Sprintf("write %q", JoinNames(once))
}

// serviceFlaw says why a text is not the name of a Service. Kubernetes 1.37 accepts DNS labels, which may begin with a
// digit.
func serviceFlaw(value string) *Flaw {
	if strings.ContainsAny(value, "./") {
		// The name is before the first dot of a host, or after a namespace and a slash.
		name, _, _ := strings.Cut(value[strings.LastIndexByte(value, '/')+1:], ".")
		return &Flaw{"but only Services of the same namespace can be released",
			mended(name, "-", isServiceName, "write the Service's name alone")}
	}
	return nameFlaw(value, maxServiceName, "-", isServiceName)
}

// stableFlaw says why a text is not the name of a Deployment in the same namespace.
func stableFlaw(value string) *Flaw {
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
	return &Flaw{"which cannot be a name in Kubernetes",
		mended(strings.ToLower(value), inner, valid, "write the name as kubectl get shows it")}
}

func tooLong(value string, longest int) *Flaw {
	return &Flaw{fmt.Sprintf("which is %d bytes long, more than %d", len(value), longest), "write a shorter one"}
}

// mended proposes the value with a dash in place of everything that is not allowed, if that makes it valid; otherwise
// it returns the other fix.
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

// isDeploymentName: the name consists of DNS labels joined by dots.
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

// isWord reports whether s is not empty and consists of ASCII letters and digits, with bytes of inner only between
// them.
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
