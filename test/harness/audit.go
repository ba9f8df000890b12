package harness

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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
	return fmt.Sprintf("%s %s.%s %s/%s", r.Verb, r.Resource, r.Group, r.Namespace, r.Name)
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

// Requests are those of the ServiceAccount so far, each kind of them once.
func Requests(namespace, account string) ([]Request, error) {
	return current().requests(namespace, account)
}

func (l *lab) requests(namespace, account string) ([]Request, error) {
	log, err := os.Open(filepath.Join(l.Dir, "logs", "audit.jsonl"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // it has only been read
	seen := map[Request]bool{}
	lines := bufio.NewScanner(log)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var a audited
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			return nil, fmt.Errorf("audit log: %q: %w", lines.Text(), err)
		}
		if a.ObjectRef == nil || a.User.Username != "system:serviceaccount:"+namespace+":"+account {
			continue
		}
		seen[Request{Verb: a.Verb, Group: a.ObjectRef.APIGroup, Namespace: a.ObjectRef.Namespace, Name: a.ObjectRef.Name,
			Resource: strings.TrimSuffix(a.ObjectRef.Resource+"/"+a.ObjectRef.Subresource, "/"),
			Refused:  a.Annotations["authorization.k8s.io/decision"] == "forbid", Because: a.Annotations["authorization.k8s.io/reason"]}] = true
	}
	var out []Request
	for r := range seen {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b Request) int { return strings.Compare(a.String(), b.String()) })
	return out, lines.Err()
}
