package annotator

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestOwnWritesAreExpected(t *testing.T) {
	now := at(100)
	e := newExpectations(func() time.Time { return now })
	var cached client.Object
	find := func(string, string, string) client.Object { return cached }
	wrote := &appsv1.Deployment{ObjectMeta: meta("web")}
	wrote.ResourceVersion = "10"
	for _, version := range []string{"9", "10", "11"} {
		e.wrote(webService, kindDeployment, wrote)
		seen := &appsv1.Deployment{ObjectMeta: meta("web")}
		seen.ResourceVersion = version
		cached = seen
		if got, want := e.satisfied(webService, find), version != "9"; got != want {
			t.Errorf("version 10 written, %s cached: satisfied is %v, want %v", version, got, want)
		}
	}
	e.removed(webService, kindVirtualService, wrote)
	if e.satisfied(webService, find) {
		t.Error("removed, and still cached: satisfied")
	}
	cached = nil
	if !e.satisfied(webService, find) || len(e.unseen) != 0 {
		t.Errorf("removed, and gone from the cache: still expects %v", e.unseen)
	}
}

// A write that somebody undid before the cache saw it is no longer expected after a while.
func TestExpectationsEnd(t *testing.T) {
	now := at(100)
	e := newExpectations(func() time.Time { return now })
	none := func(string, string, string) client.Object { return nil }
	e.wrote(webService, kindVirtualService, &appsv1.Deployment{ObjectMeta: meta("web")})
	if now = now.Add(expectationLimit); e.satisfied(webService, none) {
		t.Error("given up too early")
	}
	if now = now.Add(time.Millisecond); !e.satisfied(webService, none) {
		t.Errorf("after %s it still waits", expectationLimit)
	}
}
