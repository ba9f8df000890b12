package harness

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Right is one thing that a role allows: a verb on a resource, of one name where the role says so.
type Right struct {
	Role     string // ClusterRole grayscale, Role grayscale
	Verb     string
	Group    string
	Resource string
	Name     string // empty for all
}

// String says it in one line.
func (r Right) String() string {
	text := fmt.Sprintf("%s: %s %s.%s", r.Role, r.Verb, r.Resource, r.Group)
	if r.Name != "" {
		text += " named " + r.Name
	}
	return text
}

// Covers reports whether the right is one to make such a request, wherever it is made.
func (r Right) Covers(q Request) bool {
	return r.Verb == q.Verb && r.Group == q.Group && r.Resource == q.Resource && (r.Name == "" || r.Name == q.Name)
}

// Allowed reports whether it was a binding of this right's role by which the API server allowed the request.
func (r Right) Allowed(q Request) bool {
	kind, name, _ := strings.Cut(r.Role, " ")
	return strings.Contains(q.Because, fmt.Sprintf("of %s %q to", kind, name))
}

// Rights are those of the roles among manifests, in the order in which they are written.
func Rights(manifests []byte) ([]Right, error) {
	var out []Right
	documents := yamlstream.NewYAMLReader(bufio.NewReader(bytes.NewReader(manifests)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var role rbacv1.ClusterRole // a Role has the same fields
		if err := yaml.Unmarshal(document, &role); err != nil {
			return nil, err
		}
		if role.Kind == "ClusterRole" || role.Kind == "Role" {
			out = append(out, rightsOf(role.Kind+" "+role.Name, role.Rules)...)
		}
	}
}

func rightsOf(role string, rules []rbacv1.PolicyRule) []Right {
	var out []Right
	for _, rule := range rules {
		names := rule.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, name := range names {
					for _, verb := range rule.Verbs {
						out = append(out, Right{Role: role, Verb: verb, Group: group, Resource: resource, Name: name})
					}
				}
			}
		}
	}
	return out
}

// missing are the requests of the installed grayscale that no role of manifests/base allows. One that was refused only
// because its binding had gone, as while grayscale is uninstalled, is none.
func (l *lab) missing() ([]Request, error) {
	rendered, err := os.ReadFile(filepath.Join(l.base, "grayscale.yaml"))
	if err != nil {
		return nil, err
	}
	rights, err := Rights(rendered)
	if err != nil {
		return nil, err
	}
	requests, err := l.requests(systemNamespace, "grayscale")
	if err != nil {
		return nil, err
	}
	if len(requests) == 0 || len(rights) == 0 {
		return nil, fmt.Errorf("grayscale has %d rights and made %d requests", len(rights), len(requests))
	}
	var out []Request
	for _, q := range requests {
		if q.Refused && !covered(rights, q) {
			out = append(out, q)
		}
	}
	return out, nil
}

func covered(rights []Right, q Request) bool {
	for _, r := range rights {
		if r.Covers(q) {
			return true
		}
	}
	return false
}
