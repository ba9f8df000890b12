package istio_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"grayscale.dev/grayscale/routing/release"
)

var update = flag.Bool("update", false, "rewrite testdata/*.yaml")

// example is one golden file: a Service, the users' rules about it, our rule, and our routes for several splits. The
// package test/lab/validation shows these files to Istio's own code.
type example struct {
	About   string                          `json:"about"`
	Service release.Service                 `json:"service"`
	Others  []*networkingv1.DestinationRule `json:"others,omitempty"`
	// Hides are rules of users that appear after ours, and hide its subsets from some clients.
	Hides  []*networkingv1.DestinationRule `json:"hides,omitempty"`
	Rule   *networkingv1.DestinationRule   `json:"rule"`
	Routes []ask                           `json:"routes"`

	bypasses []release.Bypass
}

type ask struct {
	Traffic        release.Traffic              `json:"traffic"`
	Bypasses       []release.Bypass             `json:"bypasses,omitempty"`
	VirtualService *networkingv1.VirtualService `json:"virtualService"`
}

// asks are the splits, from the pin to stable, over weights and mirrors, to everything for the candidate.
var asks = []release.Traffic{
	only("v1"),
	split(release.Weight{Version: "v1", Share: 9000}, release.Weight{Version: "v2.0", Share: 1000}),
	split(release.Weight{Version: "v1", Share: 9950}, release.Weight{Version: "v2.0", Share: 50}),
	{Weights: only("v1").Weights,
		Mirrors: []release.Weight{{Version: "v2.0", Share: 2500}, {Version: "v3", Share: 10000}}},
	split(release.Weight{Version: "v1", Share: 5000}, release.Weight{Version: "v2.0", Share: 3000},
		release.Weight{Version: "v3", Share: 2000}),
	only("v2.0"),
}

func examples() map[string]example {
	policy := func(dr *networkingv1.DestinationRule) []*networkingv1.DestinationRule {
		dr.APIVersion, dr.Kind = "networking.istio.io/v1", "DestinationRule"
		return []*networkingv1.DestinationRule{dr}
	}
	web := release.Port{Name: "http", Number: 80}
	hides := func(at, spec string) []*networkingv1.DestinationRule {
		dr := &networkingv1.DestinationRule{}
		namespace, name, _ := strings.Cut(at, "/")
		const object = `{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {namespace: %s, name: %s}, ` +
			`spec: %s}`
		if err := yaml.Unmarshal(fmt.Appendf(nil, object, namespace, name, spec), dr); err != nil {
			panic(err)
		}
		return []*networkingv1.DestinationRule{age(dr, 2)}
	}
	two := []release.Port{web, {Name: "tcp-x", Number: 9000}}
	private := service(web, release.Port{Name: "tcp-x", Number: 9000})
	private.ExportTo = []string{".", "bank"}
	return map[string]example{
		"exported": {About: "a Service for the clients of some namespaces", Service: private},
		"bypass/namespace": {About: "a rule in a client's namespace, all kinds of ports",
			Service: service(append(two, release.Port{Name: "web", Number: 8080})...),
			Hides:   hides("bank/theirs", `{host: `+fqdn+`, exportTo: ["."]}`)},
		"bypass/http": {About: "a rule in a client's namespace, HTTP", Service: service(web),
			Hides: hides("bank/theirs", `{host: "*.local"}`)},
		"bypass/tcp": {About: "a rule in a client's namespace, TCP", Service: service(two[1]),
			Hides: hides("bank/theirs", `{host: `+fqdn+`}`)},
		"bypass/selector": {About: "a rule for some workloads in the Service's namespace", Service: service(two...),
			Hides: hides("shop/theirs", `{host: reviews, workloadSelector: {matchLabels: {app: client}}}`)},
		"bypass/private": {About: "a younger private rule in the Service's namespace", Service: service(two...),
			Hides: hides("shop/theirs", `{host: reviews, exportTo: ["."]}`)},
		"bypass/export": {About: "a younger rule with another public exportTo", Service: service(two...),
			Hides: hides("shop/theirs", `{host: reviews, exportTo: ["*"]}`)},
		"bypass/export-http": {About: "a younger rule with another public exportTo, HTTP", Service: service(web),
			Hides: hides("shop/theirs", `{host: reviews, exportTo: ["*"]}`)},
		"http": {About: "one HTTP port, 80", Service: service(web)},
		"http-8080": {About: "one HTTP port, not 80",
			Service: service(release.Port{Name: "http-web", Number: 8080})},
		"http-9080": {About: "one HTTP port, Bookinfo's",
			Service: service(release.Port{Name: "http", Number: 9080})},
		"http-5000": {About: "one HTTP port, helloworld's, beside one for connections",
			Service: service(release.Port{Name: "http", Number: 5000}, release.Port{Name: "tcp-x", Number: 9000})},
		"http-twice": {About: "two HTTP ports",
			Service: service(web, release.Port{Name: "http-admin", Number: 8080})},
		"grpc": {About: "gRPC", Service: service(release.Port{Name: "grpc", Number: 9090})},
		"h2c": {About: "HTTP/2 by Kubernetes' own word",
			Service: service(release.Port{Name: "api", Number: 9090, AppProtocol: "kubernetes.io/h2c"})},
		"tcp":   {About: "TCP", Service: service(release.Port{Name: "tcp-x", Number: 9000})},
		"redis": {About: "Redis, which is TCP", Service: service(release.Port{Name: "redis", Number: 6379})},
		"well-known": {About: "a port that Istio takes for TCP by its number",
			Service: service(release.Port{Name: "db", Number: 3306})},
		"tls-as-tcp": {About: "TLS declared as TCP",
			Service: service(release.Port{Name: "https", Number: 443, AppProtocol: "tcp"})},
		"sniffed":    {About: "a port without a protocol", Service: service(release.Port{Name: "web", Number: 8080})},
		"sniffed-80": {About: "port 80 without a protocol", Service: service(release.Port{Number: 80})},
		"http-and-tcp": {About: "an HTTP port and a TCP port",
			Service: service(web, release.Port{Name: "tcp-x", Number: 9000})},
		"many": {About: "all kinds of ports",
			Service: service(web, release.Port{Name: "tcp-x", Number: 9000}, release.Port{Name: "web", Number: 8080},
				release.Port{Name: "grpc", Number: 9090}, release.Port{Name: "dns", Number: 53, Protocol: "UDP"})},
		"protocols": {About: "every way to declare a protocol", Service: service(
			release.Port{Name: "http2-a", Number: 8001}, release.Port{Name: "grpc-web-a", Number: 8002},
			release.Port{Name: "mongo", Number: 8003}, release.Port{Name: "mysql-a", Number: 8004},
			release.Port{Name: "redis-a", Number: 8005}, release.Port{Name: "udp-a", Number: 8006},
			release.Port{Name: "httpx", Number: 8007}, release.Port{Name: "tcp-a", Number: 8008, AppProtocol: "HTTP"},
			release.Port{Name: "http-b", Number: 8009, AppProtocol: "example.com/own"},
			release.Port{Name: "tcp-b", Number: 8010, AppProtocol: "kubernetes.io/ws"},
			release.Port{Name: "tls-b", Number: 8011, AppProtocol: "grpc-web"},
			release.Port{Name: "smtp", Number: 25}, release.Port{Name: "dns", Number: 53},
			release.Port{Name: "http-c", Number: 27017}, release.Port{Name: "own", Number: 27018})},
		"merged-rule": {About: "a rule of the user's is merged with ours", Service: service(web),
			Others: policy(rule("shop/mine", "reviews", 77))},
		"merged-export": {About: "the user's exportTo is copied", Service: service(web),
			Others: policy(rule("shop/mine", fqdn, 77, "*"))},
		"root-rule": {About: "the root namespace's policy is carried over", Service: service(web),
			Others: policy(rule(root+"/all", "*.local", 77))},
		"wildcard-rule": {About: "the policy for a wildcard is carried over", Service: service(web),
			Others: policy(rule("shop/all", "*.shop.svc.cluster.local", 77))},
		"merged-rule-tcp": {About: "a rule of the user's is merged with ours, TCP",
			Service: service(release.Port{Name: "tcp-x", Number: 9000}), Others: policy(rule("shop/mine", "reviews", 77))},
		"root-rule-tcp": {About: "the root namespace's policy is carried over, TCP",
			Service: service(release.Port{Name: "tcp-x", Number: 9000}), Others: policy(rule(root+"/all", "*.local", 77))},
		"wildcard-sniffed": {About: "the policy for a wildcard is carried over, sniffed",
			Service: service(release.Port{Number: 8080}), Others: policy(rule("shop/all", "*.local", 77, "*"))},
	}
}

// TestGolden compares what is built with testdata/<name>.yaml.
func TestGolden(t *testing.T) {
	for name, e := range examples() {
		m := around(e.Service)
		m.OtherDestinationRules = e.Others
		if problems := append(m.PortProblems(false), m.SubsetProblems("v3", "v1")...); len(problems) > 0 {
			t.Errorf("%s: %v", name, problems)
		}
		e.Rule = destinationRule(e.Service, subsetsOf("v1", "v2.0", "v3"), e.Others...)
		m.DestinationRule, m.OtherDestinationRules = age(e.Rule, 1), e.Hides
		for _, b := range m.Blind([]string{"v1", "v2.0"}) {
			e.bypasses = append(e.bypasses, release.Bypass{Clients: b.Clients})
		}
		e.Rule.CreationTimestamp = metav1.Time{}
		if (len(e.bypasses) > 0) != (len(e.Hides) > 0) {
			t.Errorf("%s: blind are %v", name, e.bypasses)
		}
		for _, traffic := range asks {
			vs := virtualService(e.Service, traffic, release.State{Traffic: traffic, Bypasses: e.bypasses})
			e.Routes = append(e.Routes, ask{traffic, e.bypasses, vs})
		}
		got, err := yaml.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, filepath.Join("testdata", name+".yaml"), got)
	}
	files, err := filepath.Glob("testdata/*.yaml")
	bypasses, _ := filepath.Glob("testdata/bypass/*.yaml")
	if files = append(files, bypasses...); err != nil || len(files) != len(examples()) {
		t.Errorf("%d golden files for %d examples: %v", len(files), len(examples()), err)
	}
}

func compare(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; write it with: go test ./routing/istio -run TestGolden -update, then read it", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}
