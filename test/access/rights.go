// Package access reads what roles allow and what was asked for, so that tests can hold one against the other.
package access

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	yamlstream "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// Right is one thing that a role allows: a verb on a resource, of one name where the role says so.
type Right struct {
	Kind      string // ClusterRole or Role
	Role      string // its name
	Namespace string // of a Role
	Verb      string
	Group     string
	Resource  string // with its subresource: deployments/status
	Name      string // empty for all
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
		if role.Kind != "ClusterRole" && role.Kind != "Role" {
			continue
		}
		of := Right{Kind: role.Kind, Role: role.Name, Namespace: role.Namespace}
		for _, rule := range role.Rules {
			out = append(out, of.under(rule)...)
		}
	}
}

// under are the rights that one rule gives.
func (r Right) under(rule rbacv1.PolicyRule) []Right {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	var out []Right
	for _, r.Group = range rule.APIGroups {
		for _, r.Resource = range rule.Resources {
			for _, r.Name = range names {
				for _, r.Verb = range rule.Verbs {
					out = append(out, r)
				}
			}
		}
	}
	return out
}

// Object is what the right is about, as kubectl names it: deployments.apps/status, secrets/NAME.
func (r Right) Object() string {
	resource, subresource, found := strings.Cut(r.Resource, "/")
	text := strings.TrimSuffix(resource+"."+r.Group, ".")
	if found {
		text += "/" + subresource
	}
	if r.Name != "" {
		text += " " + r.Name
	}
	return text
}

// String says it in one line.
func (r Right) String() string {
	return fmt.Sprintf("%s %s: %s %s", r.Kind, r.Role, r.Verb, r.Object())
}

// Covers reports whether the right is one to make such a request, wherever it is made.
func (r Right) Covers(q Request) bool {
	return r.Verb == q.Verb && r.Group == q.Group && r.Resource == q.Resource && (r.Name == "" || r.Name == q.Name)
}

// Allowed reports whether the API server let the request pass because of this right's role.
func (r Right) Allowed(q Request) bool {
	return !q.Refused && r.Covers(q) && strings.Contains(q.Because, fmt.Sprintf("of %s %q to", r.Kind, r.Role))
}
