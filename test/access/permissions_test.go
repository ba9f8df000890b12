package access

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// docs/permissions.md is the golden file of what the manifests allow.
func TestPermissionsAreDocumented(t *testing.T) {
	rendered, err := os.ReadFile(filepath.Join("..", "..", "manifests", "base", "grayscale.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rights, err := Rights(rendered)
	if err != nil {
		t.Fatal(err)
	}
	given := map[string]bool{}
	for _, r := range rights {
		if r.Role != "grayscale" || r.Kind == "Role" && r.Namespace != "grayscale-system" {
			t.Errorf("a %s of another name or place: %s in %q", r.Kind, r.Role, r.Namespace)
		}
		given[r.Kind+" "+r.Verb+" "+r.Object()] = true
	}
	told := documented(t)
	for right := range given {
		if !told[right] {
			t.Errorf("docs/permissions.md does not tell: %s", right)
		}
	}
	for right := range told {
		if !given[right] {
			t.Errorf("docs/permissions.md tells of what the manifests do not give: %s", right)
		}
	}
}

func documented(t *testing.T) map[string]bool {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "permissions.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 || !strings.HasSuffix(strings.TrimSpace(cells[1]), "Role") || cells[1] == " Role " && cells[2] == " On " {
			continue
		}
		for verb := range strings.SplitSeq(strings.TrimSpace(cells[3]), ", ") {
			told[strings.TrimSpace(cells[1])+" "+verb+" "+strings.Trim(cells[2], " `")] = true
		}
		if strings.TrimSpace(cells[4]) == "" {
			t.Errorf("nothing tells what this is for: %s", line)
		}
	}
	return told
}

// No right is a wildcard, and none is one of those by which an account gets at others' rights or data.
func TestNothingIsAllowedWholesale(t *testing.T) {
	rendered, err := os.ReadFile(filepath.Join("..", "..", "manifests", "base", "grayscale.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	rights, err := Rights(rendered)
	if err != nil || len(rights) == 0 {
		t.Fatalf("%d rights: %v", len(rights), err)
	}
	for _, r := range rights {
		switch {
		case slices.Contains([]string{r.Verb, r.Group, r.Resource}, "*"):
			t.Errorf("a wildcard: %s", r)
		case slices.Contains([]string{"escalate", "bind", "impersonate", "deletecollection"}, r.Verb):
			t.Errorf("a verb that reaches further than it seems: %s", r)
		case r.Kind == "ClusterRole" && slices.Contains([]string{"secrets", "configmaps", "serviceaccounts", "pods/exec", "pods/log"}, r.Resource):
			t.Errorf("others' data: %s", r)
		}
	}
}

// What Kubernetes writes into its audit log is read as the roles spell it.
func TestRequests(t *testing.T) {
	log := `{"verb":"patch","user":{"username":"me"},"objectRef":{"resource":"deployments","subresource":"status","namespace":"shop","name":"web","apiGroup":"apps"},"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"c\" to ServiceAccount \"me/own\""}}
{"verb":"patch","user":{"username":"me"},"objectRef":{"resource":"deployments","subresource":"status","namespace":"shop","name":"web","apiGroup":"apps"},"annotations":{"authorization.k8s.io/decision":"allow","authorization.k8s.io/reason":"RBAC: allowed by ClusterRoleBinding \"b\" of ClusterRole \"c\" to ServiceAccount \"me/own\""}}
{"verb":"get","user":{"username":"me"},"annotations":{"authorization.k8s.io/decision":"allow"}}
{"verb":"get","user":{"username":"you"},"objectRef":{"resource":"pods","namespace":"shop"}}
{"verb":"list","user":{"username":"me"},"objectRef":{"resource":"secrets","namespace":"shop"},"annotations":{"authorization.k8s.io/decision":"forbid"}}
{"verb":"update","user":{"userna` // it is being written
	got, err := Requests(strings.NewReader(log), "me")
	if err != nil || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	if q := got[0]; !q.Refused || q.Resource != "secrets" {
		t.Errorf("the list of Secrets was refused: %+v", q)
	}
	status := Right{Kind: "ClusterRole", Role: "c", Verb: "patch", Group: "apps", Resource: "deployments/status"}
	for name, right := range map[string]struct {
		Right
		allowed bool
	}{
		"the right itself":          {status, true},
		"of that name":              {Right{status.Kind, "c", "", status.Verb, status.Group, status.Resource, "web"}, true},
		"of another name":           {Right{status.Kind, "c", "", status.Verb, status.Group, status.Resource, "other"}, false},
		"another role's":            {Right{"Role", "c", "", status.Verb, status.Group, status.Resource, ""}, false},
		"without the subresource":   {Right{status.Kind, "c", "", status.Verb, status.Group, "deployments", ""}, false},
		"another verb on the same":  {Right{status.Kind, "c", "", "get", status.Group, status.Resource, ""}, false},
		"another group's resources": {Right{status.Kind, "c", "", status.Verb, "", status.Resource, ""}, false},
	} {
		if right.Allowed(got[1]) != right.allowed {
			t.Errorf("%s: %v allows %v: %v", name, right.Right, got[1], !right.allowed)
		}
	}
}
