package security

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"grayscale.dev/grayscale/test/harness"
	"grayscale.dev/grayscale/webhook"
)

// stranger is the address that attacks come from. The lab's API server calls from another one, as a real one does.
const stranger = "127.66.6.6"

func dialer() *net.Dialer {
	return &net.Dialer{Timeout: harness.Patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(stranger)}}
}

// caller speaks TLS and trusts every certificate, as an attacker would.
func caller() *http.Client {
	return &http.Client{Timeout: harness.Patience, Transport: &http.Transport{
		DialContext: dialer().DialContext, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// post sends a body as an AdmissionReview.
func post(t *testing.T, replica harness.Replica, path string, body io.Reader) (code int, answer string) {
	t.Helper()
	response, err := caller().Post("https://"+replica.Webhook+path, "application/json", body)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	defer response.Body.Close()
	said, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return response.StatusCode, string(said)
}

// review is an AdmissionReview as the API server would send it.
func review(t *testing.T, operation admissionv1.Operation, object, old any, namespace, name string) []byte {
	t.Helper()
	raw := func(o any) (out runtime.RawExtension) {
		if o == nil {
			return out
		}
		var err error
		if out.Raw, err = json.Marshal(o); err != nil {
			t.Fatal(err)
		}
		return out
	}
	body, err := json.Marshal(admissionv1.AdmissionReview{TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request: &admissionv1.AdmissionRequest{UID: "forged", Operation: operation, Namespace: namespace, Name: name, Object: raw(object), OldObject: raw(old)}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// paths are the secret paths of the webhooks, read from the webhook configurations.
func paths(t *testing.T) map[string]string {
	t.Helper()
	ctx, api := context.Background(), harness.Kube().AdmissionregistrationV1()
	mutating, err := api.MutatingWebhookConfigurations().Get(ctx, "grayscale", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	validating, err := api.ValidatingWebhookConfigurations().Get(ctx, "grayscale", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, w := range mutating.Webhooks {
		out[w.Name] = ptr.Deref(w.ClientConfig.Service.Path, "")
	}
	for _, w := range validating.Webhooks {
		out[w.Name] = ptr.Deref(w.ClientConfig.Service.Path, "")
	}
	return out
}

func deletion(t *testing.T, v victim) []byte {
	t.Helper()
	return review(t, admissionv1.Delete, nil, canary("web-v2", "50").Deployment(), v.ns, "web-v2")
}

// hiding asks about a rule that would take the subsets from the victim's own clients.
func hiding(t *testing.T, v victim) []byte {
	t.Helper()
	rule := map[string]any{"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": map[string]string{"namespace": v.ns, "name": "theirs"},
		"spec": map[string]any{"host": "web", "exportTo": []string{"."}}}
	return review(t, admissionv1.Create, rule, nil, v.ns, "theirs")
}

// A Pod that can reach the webhook's port, and knows grayscale's sources but no secret, forges the requests that have
// effects: nothing moves, no hold ends, and it learns nothing about other namespaces.
func forgedQuestionsAreNotAnswered(t *testing.T) {
	v := newVictim(t)
	waiting, name := held(t)
	before := routes(t, v.ns)
	spying := review(t, admissionv1.Create, canary("web-v3", "10").Deployment(), nil, v.ns, "web-v3")
	end := review(t, admissionv1.Delete, nil, map[string]any{"metadata": map[string]string{"name": "grayscale-system"}}, "", "grayscale-system")
	for _, replica := range harness.Replicas(t) {
		for home, body := range map[string][]byte{
			webhook.DrainPath: deletion(t, v), webhook.PrecedePath: hiding(t, v), webhook.RetirePath: end, webhook.MutatePath: spying, webhook.ValidatePath: spying,
		} {
			for _, path := range []string{home, home + "/", home + "/" + strings.Repeat("a", 26), home + "/%2e%2e/retire", "/"} {
				code, said := post(t, replica, path, bytes.NewReader(body))
				if code != http.StatusForbidden || !strings.Contains(said, "only the API server is answered") || strings.Contains(said, "web") && strings.Contains(said, v.ns) {
					t.Errorf("%s is answered with %d: %s", path, code, said)
				}
			}
		}
	}
	v.untouched(t, before)
	doorIsOpen(t)
	if !isHeld(t, waiting, name) {
		t.Error("the forged end of grayscale lifted a hold")
	}
}

// A caller with the secret moves the traffic away from a version for a while, as the API server does before a deletion.
// If no deletion follows, it comes back by itself. This also proves that the forged requests of the test above are
// realistic.
func stolenPathMovesTrafficForAWhileOnly(t *testing.T) {
	v := newVictim(t)
	before := routes(t, v.ns)
	code, said := post(t, harness.Replicas(t)[0], paths(t)["drain.grayscale.dev"], bytes.NewReader(deletion(t, v)))
	if code != http.StatusOK || !strings.Contains(said, `"allowed":true`) {
		t.Fatalf("answered with %d: %s", code, said)
	}
	if after := routes(t, v.ns); after == before {
		t.Errorf("nothing moved: %s", after)
	}
	harness.Eventually(t, "the traffic is back", func() error {
		if now := routes(t, v.ns); now != before {
			return fmt.Errorf("the routes are %s", now)
		}
		return nil
	})
	v.untouched(t, before)
}

// A configuration that lost the paths, for example because it was replaced, gets new secrets at the first request, and
// the old ones stop working.
func TestLostPathsAreMadeAnew(t *testing.T) {
	before := paths(t)
	for name := range before {
		kind := "validatingwebhookconfiguration"
		if name == "mutate.grayscale.dev" {
			kind = "mutatingwebhookconfiguration"
		}
		harness.Kubectl(t, "", "patch", kind, "grayscale", "-p", fmt.Sprintf(`{"webhooks":[{"name":%q,"clientConfig":{"service":{"path":null}}}]}`, name))
	}
	harness.Eventually(t, "the webhook answers the API server", refusesWrongWeights)
	harness.Eventually(t, "every path is a new one", func() error {
		for name, path := range paths(t) {
			if !strings.HasPrefix(path, "/") || path == before[name] {
				return fmt.Errorf("%s has %q", name, path)
			}
		}
		return nil
	})
	for _, replica := range harness.Replicas(t) {
		harness.Eventually(t, replica.Pod+" refuses the old path", func() error {
			post(t, replica, "/unknown", strings.NewReader("{}")) // makes the replica read the configuration
			if code, said := post(t, replica, before["validate.grayscale.dev"], strings.NewReader("{}")); code != http.StatusForbidden {
				return fmt.Errorf("answered with %d: %s", code, said)
			}
			return nil
		})
	}
}

// refusesWrongWeights fails if the API server gets no answer: it admits then, for failurePolicy is Ignore.
func refusesWrongWeights() error {
	_, err := harness.Kube().AppsV1().Deployments("default").Create(context.Background(), canary("web-v2", "150").Deployment(),
		metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err == nil {
		return errors.New("a wrong weight is admitted")
	}
	return nil
}

// TLS below 1.2 ends at the handshake.
func TestOldTLSIsRefused(t *testing.T) {
	for _, replica := range harness.Replicas(t) {
		for version, accepted := range map[uint16]bool{tls.VersionTLS10: false, tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
			conn, err := tls.DialWithDialer(dialer(), "tcp", replica.Webhook, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
			if (err == nil) != accepted {
				t.Errorf("%s: %v", tls.VersionName(version), err)
			}
			if err == nil {
				_ = conn.Close() // the handshake is all that is wanted
			} else if !strings.Contains(err.Error(), "protocol version not supported") {
				t.Errorf("%s: %v", tls.VersionName(version), err)
			}
		}
	}
}

// Connections that send nothing, or a byte at a time, are closed. One address gets only a part of all connections, and
// the API server still gets answers.
func TestSlowCallersAreHungUpOn(t *testing.T) {
	const many = 1300
	replica := harness.Replicas(t)[0]
	ended := make(chan time.Duration, many)
	for n := range many {
		begin := time.Now()
		conn, err := dialer().Dial("tcp", replica.Webhook)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			defer func() { _ = conn.Close() }() // the other side has closed it
			if n%2 == 0 {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
				go dribble(conn)
			}
			_ = conn.SetReadDeadline(begin.Add(harness.Patience)) // a connection of our own that has just been opened
			_, _ = io.Copy(io.Discard, conn)                      // it ends when the other side closes it
			ended <- time.Since(begin)
		}()
	}
	asked, answered := 20, 0
	for range asked {
		if refusesWrongWeights() == nil {
			answered++
		}
	}
	if answered < asked/2 { // not all: this machine has many connections to open as well
		t.Errorf("meanwhile %d of %d questions of the API server were answered", answered, asked)
	}
	var all []time.Duration
	for range many {
		all = append(all, <-ended)
	}
	slices.Sort(all)
	if longest := all[many-1]; longest >= harness.Patience/2 {
		t.Errorf("a slow caller was served for %s", longest)
	}
	t.Logf("of %d slow callers the first was hung up on after %s, the middle one after %s, the last after %s", many, all[0], all[many/2], all[many-1])
	lean(t)
}

// dribble sends a request that never ends, until the connection does.
func dribble(conn net.Conn) {
	if _, err := io.WriteString(conn, "POST /retire HTTP/1.1\r\nHost: grayscale\r\n"); err != nil {
		return
	}
	for {
		if _, err := io.WriteString(conn, "X"); err != nil {
			return
		}
		time.Sleep(100 * time.Millisecond) // the pace is the attack
	}
}

// A body that stalls or never ends is cut after some time and size, even if the path is right.
func TestEndlessBodiesAreCut(t *testing.T) {
	path := paths(t)["validate.grayscale.dev"]
	replica := harness.Replicas(t)[0]
	stalled, hold := io.Pipe()
	defer func() { _ = hold.Close() }() // the request is over
	begin := time.Now()
	request, err := http.NewRequest(http.MethodPost, "https://"+replica.Webhook+path, stalled)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := caller().Do(request)
	if err == nil {
		said, _ := io.ReadAll(response.Body) // cut or not
		_ = response.Body.Close()
		if strings.Contains(string(said), `"allowed":true`) {
			t.Errorf("a body that stalls is answered: %s", said)
		}
	}
	if took := time.Since(begin); took >= harness.Patience/2 {
		t.Errorf("a body that stalls was waited for %s: %v", took, err)
	}
	code, said := post(t, replica, path, &letters{left: 9 << 20})
	if code != http.StatusOK || !strings.Contains(said, `"code":413`) || !strings.Contains(said, "too large") {
		t.Errorf("a body of 9 MiB is answered with %d: %s", code, said)
	}
}

// letters is a JSON text that is cut before its end.
type letters struct{ left int }

func (l *letters) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	n := min(len(p), l.left)
	for i := range n {
		p[i] = '['
	}
	l.left -= n
	return n, nil
}

// The largest requests of an API server are answered. Many at once wait for each other, and memory stays bounded.
func TestLargestQuestions(t *testing.T) {
	large := func(weight string) *appsv1.Deployment {
		a := canary("web-v2", weight)
		a.Env = map[string]string{"LARGE": strings.Repeat("x", 3<<20)}
		return a.Deployment()
	}
	body := review(t, admissionv1.Update, large("150"), large("10"), "default", "web-v2")
	if len(body) < 6<<20 || len(body) > 7<<20 {
		t.Fatalf("the question has %d bytes", len(body))
	}
	path, replica := paths(t)["validate.grayscale.dev"], harness.Replicas(t)[0]
	const many = 40
	answers := make(chan string, many)
	for range many {
		go func() {
			response, err := caller().Post("https://"+replica.Webhook+path, "application/json", bytes.NewReader(body))
			if err != nil {
				answers <- err.Error()
				return
			}
			defer response.Body.Close()
			said, err := io.ReadAll(response.Body)
			answers <- fmt.Sprintf("%d %s %v", response.StatusCode, said, err)
		}()
	}
	served := 0
	for range many {
		answer := <-answers
		switch {
		case strings.Contains(answer, "which is above 100"):
			served++
		case strings.HasPrefix(answer, "503"), strings.Contains(answer, "connection reset"), strings.Contains(answer, "broken pipe"):
		default:
			t.Errorf("answered with %s", answer)
		}
	}
	t.Logf("%d of %d questions of %d bytes at once were answered", served, many, len(body))
	if served == 0 {
		t.Error("not one of the largest questions was answered")
	}
	lean(t)
}

// The largest Deployment that the API server accepts.
func TestLargestDeployment(t *testing.T) {
	a := canary("web-v2", "150")
	a.Env = map[string]string{"LARGE": strings.Repeat("x", 3<<20-10<<10)}
	_, err := harness.Kube().AppsV1().Deployments("default").Create(context.Background(), a.Deployment(), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	if err == nil || !strings.Contains(err.Error(), "which is above 100") {
		t.Errorf("answered with %v", err)
	}
}

// Malformed requests are answered with an error, whatever they contain.
func TestMalformedQuestions(t *testing.T) {
	path, replica := paths(t)["validate.grayscale.dev"], harness.Replicas(t)[0]
	deep := strings.Repeat(`{"a":`, 1<<20)
	for name, body := range map[string]string{
		"nothing": "", "cut": `{"apiVersion":"admission.k8s.io/v1","kind":`, "deep": deep, "deep object": `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","object":` + deep,
		"NUL": "\x00\x00", "numbers": `{"request":{"uid":1e999}}`,
	} {
		t.Run(name, func(t *testing.T) {
			code, said := post(t, replica, path, strings.NewReader(body))
			if code != http.StatusOK || !strings.Contains(said, `"allowed":false`) || !strings.Contains(said, `"code":400`) {
				t.Errorf("answered with %d: %.300s", code, said)
			}
			if len(said) > 4096 {
				t.Errorf("the answer has %d bytes", len(said))
			}
		})
	}
	response, err := caller().Post("https://"+replica.Webhook+path, "application/json"+strings.Repeat("x", 64<<10), strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close() // the code says it
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 64 KiB is answered with %s", response.Status)
	}
}

// An object of another kind at a right path does no harm either: the handlers read only the fields that they know.
func TestForeignObjects(t *testing.T) {
	path, replica := paths(t)["mutate.grayscale.dev"], harness.Replicas(t)[0]
	for name, object := range map[string]any{
		"annotations are a list": map[string]any{"metadata": map[string]any{"annotations": []string{"grayscale.dev/strategy"}}},
		"metadata is a number":   map[string]any{"metadata": 7, "spec": "x"},
		"template is a string":   map[string]any{"metadata": map[string]any{"name": "x", "annotations": map[string]any{"grayscale.dev/strategy": map[string]any{}}}, "spec": map[string]any{"template": "x", "replicas": "many"}},
		"null":                   nil,
	} {
		t.Run(name, func(t *testing.T) {
			code, said := post(t, replica, path, bytes.NewReader(review(t, admissionv1.Create, object, nil, "default", string(types.UID("x")))))
			if code != http.StatusOK || strings.Contains(said, "panic") {
				t.Errorf("answered with %d: %s", code, said)
			}
		})
	}
}
