package routing_test

import (
	"strings"
	"testing"

	"grayscale.dev/grayscale/routing"
	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/routing/release"
)

func reviews() release.Service {
	return release.Service{Namespace: "shop", Name: "reviews", Selector: map[string]string{"app": "reviews"}, Ports: []release.Port{{Name: "http", Number: 80}}}
}

func plain(name string, labels map[string]string, annotations map[string]string) release.Deployment {
	all := map[string]string{"app": "reviews"}
	for k, v := range labels {
		all[k] = v
	}
	return release.Deployment{Name: name, Replicas: 1, TemplateLabels: all, Annotations: annotations}
}

func canary(weight string) map[string]string {
	return map[string]string{intent.KeyStrategy: "canary", intent.KeyWeight: weight}
}

// visit is an admission, with the facts around it.
type visit struct {
	routing.Admission
	Facts routing.Facts
}

func (v visit) admit() routing.Verdict {
	v.Around = func(string) routing.Facts { return v.Facts }
	return routing.Admit(v.Admission, twoSeconds)
}

// admitted is the admission of a Deployment behind Service reviews with stable reviews-v1.
func admitted(d release.Deployment) visit {
	return visit{routing.Admission{Namespace: "shop", New: d, Services: []release.Service{reviews()}},
		routing.Facts{Mesh: &istio.Mesh{}, Service: reviews(), Deployments: []release.Deployment{plain("reviews-v1", nil, nil)}}}
}

// pinned adds routes that record reviews-v1 as stable.
func pinned(v visit) visit {
	pin(&v.Facts, release.State{Stable: release.Member{Deployment: "reviews-v1", Version: "v1"}})
	return v
}

func TestAdmitLabelsAndHolds(t *testing.T) {
	label := map[string]string{release.VersionLabel: "v2"}
	tests := []struct {
		name    string
		ask     func() visit
		version string
		hold    bool
	}{
		{"not ours", func() visit { return admitted(plain("other", nil, nil)) }, "", false},
		{"a candidate is labelled by its name and held", func() visit { return admitted(plain("reviews-v2", nil, canary("10"))) }, "v2", true},
		{"the annotation names the version", func() visit {
			return admitted(plain("reviews-next", nil, map[string]string{intent.KeyStrategy: "canary", intent.KeyVersion: "v9"}))
		}, "v9", true},
		{"a declared stable is labelled, not held", func() visit {
			return admitted(plain("reviews-v0", nil, map[string]string{intent.KeyService: "reviews"}))
		}, "v0", false},
		{"nothing is held once the Service is pinned", func() visit {
			a := admitted(plain("reviews-v2", nil, canary("10")))
			return pinned(a)
		}, "v2", false},
		{"annotating a running Deployment leaves its template alone", func() visit {
			return updating(plain("reviews-v2", nil, nil), plain("reviews-v2", nil, canary("10")), false)
		}, "", false},
		{"a re-apply that drops the label gets it back", func() visit {
			return updating(plain("reviews-v2", label, canary("10")), plain("reviews-v2", nil, canary("20")), false)
		}, "v2", false},
		{"and so does a stable without annotations of its own", func() visit {
			return updating(plain("reviews-v1", label, map[string]string{intent.KeyVersion: "v2"}), plain("reviews-v1", nil, nil), true)
		}, "v2", false},
		{"a rollout labels what was not labelled yet", func() visit {
			return updating(plain("reviews-v2", nil, canary("10")), plain("reviews-v2", nil, canary("10")), true)
		}, "v2", false},
		{"a held candidate stays held when a manifest says paused: false", func() visit {
			old := plain("reviews-v2", label, map[string]string{intent.KeyStrategy: "canary", intent.KeyHeld: "true"})
			old.SpecPaused = true
			return updating(old, plain("reviews-v2", label, canary("0")), false)
		}, "", true},
		{"the controller may lift the hold once the Service is pinned", func() visit {
			old := plain("reviews-v2", label, map[string]string{intent.KeyStrategy: "canary", intent.KeyHeld: "true"})
			old.SpecPaused = true
			a := updating(old, plain("reviews-v2", label, canary("0")), false)
			return pinned(a)
		}, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := tt.ask().admit()
			if len(v.Denied) > 0 || v.Version != tt.version || v.Hold != tt.hold {
				t.Errorf("got version %q, hold %t, denied %v; want version %q, hold %t", v.Version, v.Hold, v.Denied, tt.version, tt.hold)
			}
		})
	}
}

func updating(before, after release.Deployment, templateChanged bool) visit {
	a := admitted(after)
	a.Old, a.TemplateChanged = &before, templateChanged
	a.Facts.Deployments = []release.Deployment{plain("reviews-v1", map[string]string{release.VersionLabel: "v1"}, nil)}
	return a
}

func TestAdmitProblems(t *testing.T) {
	v2 := map[string]string{release.VersionLabel: "v2"}
	tests := []struct {
		name   string
		ask    func() visit
		denied bool
		says   string
	}{
		{"invalid", func() visit { return admitted(plain("reviews-v2", nil, canary("150"))) }, true, `"150"`},
		{"unknown key", func() visit {
			return admitted(plain("reviews-v2", nil, map[string]string{intent.KeyStrategy: "canary", intent.Prefix + "weigth": "10"}))
		}, false, "weight"},
		{"no Service", func() visit {
			a := admitted(plain("reviews-v2", nil, canary("10")))
			a.Services = nil
			return a
		}, false, "no Service of namespace shop selects"},
		{"no stable yet", func() visit {
			a := admitted(plain("reviews-v2", nil, canary("10")))
			a.Facts.Deployments = nil
			return a
		}, false, "no stable Deployment"},
		{"weights over 100", func() visit {
			a := admitted(plain("reviews-v3", nil, canary("50")))
			a.Facts.Deployments = append(a.Facts.Deployments, plain("reviews-v2", v2, canary("60")))
			return a
		}, true, "leave it 40%"},
		{"version twice", func() visit {
			a := admitted(plain("reviews-v3", v2, canary("5")))
			a.Facts.Deployments = append(a.Facts.Deployments, plain("reviews-v2", v2, canary("60")))
			return a
		}, true, `version "v2"`},
		{"version without its pods", func() visit {
			return updating(plain("reviews-v2", v2, canary("5")), plain("reviews-v2", v2, map[string]string{intent.KeyStrategy: "canary", intent.KeyVersion: "v3"}), false)
		}, true, `"v3"`},
		{"selector pins the version", func() visit {
			d := plain("reviews-v2", v2, map[string]string{intent.KeyStrategy: "canary", intent.KeyVersion: "v3"})
			d.Selector = v2
			return admitted(d)
		}, true, "spec.selector"},
		{"stable's version in a release", func() visit {
			a := updating(plain("reviews-v1", nil, nil), plain("reviews-v1", nil, map[string]string{intent.KeyVersion: "v7"}), true)
			a.Facts.Deployments = nil
			return pinned(a)
		}, true, `stable as version "v1"`},
		{"mirror without HTTP", func() visit {
			a := admitted(plain("reviews-v2", nil, map[string]string{intent.KeyStrategy: "mirror"}))
			a.Facts.Service.Ports = []release.Port{{Name: "tcp-x", Number: 9000}}
			return a
		}, false, "only HTTP requests can be mirrored"},
		{"a mirror beside it needs HTTP, which is no problem of the canary", func() visit {
			a := admitted(plain("reviews-v2", v2, canary("5")))
			a.Facts.Service.Ports = []release.Port{{Name: "tcp-x", Number: 9000}}
			a.Facts.Deployments = append(a.Facts.Deployments, plain("reviews-v3", nil, map[string]string{intent.KeyStrategy: "mirror"}))
			return a
		}, false, ""},
		{"another's DestinationRule, which may be mended a moment later", func() visit {
			a := admitted(plain("reviews-v2", v2, canary("5")))
			is(&a.Facts).OtherDestinationRules = destinationRules()[2:3]
			return a
		}, false, "DestinationRule bank/theirs"},
		{"without Istio", func() visit {
			a := admitted(plain("reviews-v2", v2, canary("5")))
			is(&a.Facts).Missing = true
			return a
		}, false, "install Istio's custom resource definitions"},
		{"a long name may be shorter once its Service is known", func() visit {
			a := admitted(plain("reviews-"+strings.Repeat("x", 60), nil, canary("5")))
			a.Services = nil
			return a
		}, false, "no Service of namespace shop selects"},
		{"a Service outside of the cluster is named", func() visit {
			return naming(release.Service{Namespace: "shop", Name: "web", ExternalName: true})
		}, false, `"web" in grayscale.dev/service, which is of type ExternalName: its clients leave the cluster, and no pods serve it; name a Service with a selector`},
		{"a Service without a selector is named", func() visit {
			return naming(release.Service{Namespace: "shop", Name: "web"})
		}, false, `"web" in grayscale.dev/service, which has no selector: its endpoints are somebody else's, and no pod is known to be behind it; give the Service a selector`},
		{"a Service is named that selects others", func() visit {
			return naming(release.Service{Namespace: "shop", Name: "web", Selector: map[string]string{"app": "reviews", "tier": "web"}})
		}, false, `whose selector app=reviews,tier=web does not match the pod template's labels; give the pod template tier=web, or name another Service`},
		{"all for one, while another has a part", func() visit {
			a := admitted(plain("reviews-v3", nil, map[string]string{intent.KeyStrategy: "blue-green", intent.KeyActive: "true"}))
			a.Facts.Deployments = append(a.Facts.Deployments, plain("reviews-v2", v2, canary("60")))
			return a
		}, true, `leave it 40%; set grayscale.dev/active to "false"`},
		{"stables of two versions", func() visit {
			a := admitted(plain("reviews-v2", v2, map[string]string{intent.KeyStrategy: "canary", intent.KeyStable: "reviews-v1, reviews-spot"}))
			a.Facts.Deployments = append(a.Facts.Deployments, plain("reviews-spot", map[string]string{release.VersionLabel: "v7"}, nil))
			return a
		}, true, `names "reviews-v1" and "reviews-spot" in grayscale.dev/stable, but the version of the one is "v1", and that of the other "v7"; name one of them`},
		{"stables of one version", func() visit {
			a := admitted(plain("reviews-v2", v2, map[string]string{intent.KeyStrategy: "canary", intent.KeyStable: "reviews-v1, reviews-spot"}))
			a.Facts.Deployments = append(a.Facts.Deployments, plain("reviews-spot", map[string]string{release.VersionLabel: "v1"}, nil))
			return a
		}, false, ""},
		{"one of the stables is not there", func() visit {
			return admitted(plain("reviews-v2", v2, map[string]string{intent.KeyStrategy: "canary", intent.KeyStable: "reviews-v1, reviews-spot"}))
		}, false, `names "reviews-spot" in grayscale.dev/stable, which is no other Deployment behind Service reviews`},
		{"the version of a stable beside the first", func() visit {
			a := updating(plain("reviews-spot", nil, nil), plain("reviews-spot", nil, map[string]string{intent.KeyVersion: "v7"}), true)
			pin(&a.Facts, release.State{Stable: release.Member{Deployment: "reviews-v1", Version: "v1"}, Also: []string{"reviews-spot"}})
			return a
		}, true, `stable as version "v1" in a release that lasts`},
		{"another Deployment and a StatefulSet are left out", func() visit {
			a := admitted(plain("reviews-v2", v2, map[string]string{intent.KeyStrategy: "canary", intent.KeyStable: "reviews-v1"}))
			a.Facts.Deployments = append(a.Facts.Deployments, plain("reviews-old", nil, nil))
			a.Facts.Workloads = []routing.Workload{{Kind: "StatefulSet", Name: "reviews-db"}}
			return a
		}, false, "selects pods of Deployment shop/reviews-old, StatefulSet shop/reviews-db as well, which get none of its traffic"},
		{"selectors overlap", func() visit {
			d := plain("reviews-v2", nil, canary("5"))
			d.Selector = map[string]string{"app": "reviews"}
			return admitted(d)
		}, false, "autoscalers count both"},
		{"what was wrong before does not block an image", func() visit {
			return updating(plain("reviews-v2", v2, canary("150")), plain("reviews-v2", v2, canary("150")), true)
		}, false, `"150"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			v := tt.ask().admit()
			said := v.Warnings
			if tt.denied {
				said = v.Denied
			}
			if (len(v.Denied) > 0) != tt.denied || tt.says == "" && len(said) > 0 || tt.says != "" && !mentions(said, tt.says) {
				t.Errorf("denied %v, warnings %v; want denied=%t with %q", v.Denied, v.Warnings, tt.denied, tt.says)
			}
		})
	}
}

// naming is an admission of a candidate that names a Service.
func naming(s release.Service) visit {
	a := admitted(plain("reviews-v2", nil, map[string]string{intent.KeyStrategy: "canary", intent.KeyService: s.Name}))
	a.Services = append(a.Services, s)
	a.Facts = routing.Facts{Service: s}
	return a
}

func mentions(problems []intent.Problem, text string) bool {
	for _, p := range problems {
		if strings.Contains(p.String(), text) {
			return true
		}
	}
	return false
}
