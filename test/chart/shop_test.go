package chart

import (
	"fmt"
	"strings"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// loadRate is what runs beside every story, in requests per second.
const loadRate = 60

// shop is one user's namespace with Service web.
type shop struct{ harness.Story }

// open is a shop with a plain web-v1, and requests to it until the test ends, of which none may be lost.
func open(t *testing.T) shop {
	t.Helper()
	return openIn(t, harness.Namespace(t))
}

func openIn(t *testing.T, ns string) shop {
	t.Helper()
	s := shop{harness.StoryIn(t, ns)}
	s.Apply(harness.YAML(t, harness.Service("web")) + "---" + s.deployment("web-v1"))
	harness.WaitReady(t, s.NS, "web-v1")
	s.load()
	return s
}

func empty(t *testing.T) shop {
	t.Helper()
	return shop{harness.NewStory(t)}
}

func (s shop) load() {
	s.T.Helper()
	s.Load(s.URL, loadRate)
}

// deployment is one of two pods behind Service web; each annotation is one line of YAML without the prefix.
func (s shop) deployment(name string, annotations ...string) string {
	var marks strings.Builder
	for _, a := range annotations {
		fmt.Fprintf(&marks, "\n    grayscale.dev/%s", a)
	}
	if len(annotations) == 0 {
		marks.WriteString(" {}")
	}
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[1]s
  annotations:%[2]s
spec:
  replicas: 2
  selector:
    matchLabels: {app: web, instance: %[1]s}
  template:
    metadata:
      labels: {app: web, instance: %[1]s}
    spec:
      containers:
      - name: app
        image: example/web:%[1]s
        ports:
        - containerPort: 8080
`, name, marks.String())
}

// weigh sets the canary's weight by hand and waits until Envoy has been given it.
func (s shop) weigh(percent string) {
	s.T.Helper()
	s.Annotate("web-v2", "weight="+percent)
	s.programmed("canary " + percent + "% of web")
}

func (s shop) programmed(message string) {
	s.T.Helper()
	s.Programmed("web-v2", message)
}

// served fails the test unless v1 and v2 get these shares in percent; a version that gets none is not asked for.
func (s shop) served(v1, v2 float64) {
	s.T.Helper()
	harness.AssertShares(s.T, s.URL, v1, v2)
}
