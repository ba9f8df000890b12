package annotator

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestOwnWritesAreWaitedFor(t *testing.T) {
	e, web := newEchoes(time.Now), types.NamespacedName{Namespace: shop, Name: "web"}
	var cached client.Object
	find := func(string, string, string) client.Object { return cached }
	wrote := deployment("web", nil)
	wrote.ResourceVersion = "10"
	for _, version := range []string{"9", "10", "11"} {
		e.wrote(web, kindDeployment, wrote)
		seen := deployment("web", nil)
		seen.ResourceVersion = version
		cached = seen
		if got, want := e.missing(web, find), version == "9"; got != want {
			t.Errorf("version 10 written, %s cached: missing is %v, want %v", version, got, want)
		}
	}
	e.removed(web, kindVirtualService, wrote)
	if !e.missing(web, find) {
		t.Error("removed, and still cached: not missing")
	}
	cached = nil
	if e.missing(web, find) || len(e.waiting) != 0 {
		t.Errorf("removed, and gone from the cache: still waits for %v", e.waiting)
	}
}
