package sim

import (
	"maps"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"

	"grayscale.dev/grayscale/routing/release"
)

// kind is a kind of object.
type kind int

const (
	deployments kind = iota
	replicaSets
	pods
	services
	endpointSlices
	virtualServices
	destinationRules
	kinds
)

var kindNames = [kinds]string{"Deployment", "ReplicaSet", "Pod", "Service", "EndpointSlice", "VirtualService", "DestinationRule"}

// identity is what all objects have. A stored object never changes: each write stores another one.
type identity struct {
	kind    kind
	name    string
	uid     int64
	version int64 // the resourceVersion
	created time.Duration
}

func (i *identity) id() *identity { return i }

type object interface{ id() *identity }

// template is a pod template, as far as anybody here looks at it.
type template struct {
	image   string
	version string // the label; empty for none
}

type deployment struct {
	identity
	app         string
	annotations map[string]string // those with our prefix
	setBy       map[string]string
	template    template
	relabelled  bool   // a user has changed the label, and so asked for other pods
	templateBy  string // who changed the template last; empty for nobody
	replicas    int32
	paused      bool
	generation  int64
	observed    int64
	deleting    bool // in the foreground: it waits for its pods
	conditions  []release.Condition
	asked       int64 // how often the routes that the annotations ask for have changed

	facts *release.Deployment // made once per stored version
}

func (d *deployment) copy() *deployment {
	out := *d
	out.annotations, out.setBy, out.facts = maps.Clone(d.annotations), maps.Clone(d.setBy), nil
	return &out
}

// seen is the Deployment as package cluster would tell it, without its pods.
func (d *deployment) seen() release.Deployment {
	if d.facts == nil {
		labels := map[string]string{"app": d.app}
		if d.template.version != "" {
			labels[release.VersionLabel] = d.template.version
		}
		d.facts = &release.Deployment{Name: d.name, UID: uidText(d.uid), CreatedAt: begin.Add(d.created.Truncate(time.Second)),
			Annotations: d.annotations, SetBy: d.setBy, TemplateLabels: labels, Selector: map[string]string{"app": d.app, "name": d.name},
			Replicas: d.replicas, SpecPaused: d.paused, Deleting: d.deleting, Conditions: d.conditions}
	}
	return *d.facts
}

type replicaSet struct {
	identity
	owner      int64 // the Deployment's uid
	deployment string
	template   template
	replicas   int32
	generation int64
	observed   int64
	deleting   bool
}

func (s *replicaSet) copy() *replicaSet { out := *s; return &out }

type pod struct {
	identity
	owner       int64 // the ReplicaSet's uid
	deployment  string
	app         string
	label       string // the version label
	ready       bool
	since       time.Duration
	terminating bool
}

func (p *pod) copy() *pod { out := *p; return &out }

// serves: it is in its Service's endpoints, once everybody knows.
func (p *pod) serves() bool { return p.ready && !p.terminating }

type kubeService struct {
	identity
	app string
}

func (s *kubeService) seen() release.Service {
	return release.Service{Namespace: namespace, Name: s.name, UID: uidText(s.uid), Selector: map[string]string{"app": s.app},
		Ports: []release.Port{{Name: "http", Number: 80}, {Name: "tcp-admin", Number: 9000}}}
}

// endpointSlice lists the pods of a Service that serve.
type endpointSlice struct {
	identity
	pods []string
}

type virtualService struct {
	identity
	spec *networkingv1.VirtualService
}

type destinationRule struct {
	identity
	spec *networkingv1.DestinationRule
}
