package access

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// Request is what a ServiceAccount asked the API server for, as its audit log has it.
type Request struct {
	Verb      string
	Group     string
	Resource  string // with its subresource, as in a Role: deployments/status
	Namespace string
	Name      string // empty for collections, unless a field selector names one object
	Refused   bool   // by the rules of access; what admission refused was allowed
	Because   string // RBAC's own words: which binding of which role allowed it
}

// String says it in one line.
func (r Request) String() string {
	return fmt.Sprintf("%s %s in %q", r.Verb, Right{Group: r.Group, Resource: r.Resource, Name: r.Name}.Object(), r.Namespace)
}

// audited is one line of the log.
type audited struct {
	Verb string `json:"verb"`
	User struct {
		Username string `json:"username"`
	} `json:"user"`
	ObjectRef *struct {
		APIGroup    string `json:"apiGroup"`
		Resource    string `json:"resource"`
		Subresource string `json:"subresource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
	} `json:"objectRef"` // none where API groups and versions are asked for, as everybody may
	Annotations map[string]string `json:"annotations"`
}

// Requests are those of one user in an audit log (audit.k8s.io/v1, a JSON object per line), each kind of them once. A
// last line without its end is still being written, and left out.
func Requests(log io.Reader, user string) ([]Request, error) {
	seen := map[Request]bool{}
	for lines := bufio.NewReader(log); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("audit log: %w", err)
		}
		var a audited
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, fmt.Errorf("audit log: %q: %w", line, err)
		}
		if a.ObjectRef == nil || a.User.Username != user {
			continue
		}
		seen[Request{Verb: a.Verb, Group: a.ObjectRef.APIGroup, Namespace: a.ObjectRef.Namespace, Name: a.ObjectRef.Name,
			Resource: strings.TrimSuffix(a.ObjectRef.Resource+"/"+a.ObjectRef.Subresource, "/"),
			Refused:  a.Annotations["authorization.k8s.io/decision"] == "forbid", Because: a.Annotations["authorization.k8s.io/reason"]}] = true
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b Request) int { return strings.Compare(a.String(), b.String()) }), nil
}
