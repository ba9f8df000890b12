package sim

import (
	"maps"
	"time"

	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"grayscale.dev/grayscale/observe"
	"grayscale.dev/grayscale/routing/intent"
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

var kindNames = [kinds]string{
	"Deployment", "ReplicaSet", "Pod", "Service", "EndpointSlice", "VirtualService", "DestinationRule"}

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

	memo  *appsv1.Deployment
	facts *release.Deployment
}

func (d *deployment) copy() *deployment {
	out := *d
	out.annotations, out.setBy = maps.Clone(d.annotations), maps.Clone(d.setBy)
	out.forget()
	return &out
}

type replicaSet struct {
	identity
	owner      int64 // the Deployment's uid
	deployment string
	app        string
	template   template
	replicas   int32
	generation int64
	observed   int64
	deleting   bool

	memo *appsv1.ReplicaSet
}

func (s *replicaSet) copy() *replicaSet {
	out := *s
	out.memo = nil
	return &out
}

type pod struct {
	identity
	owner       int64 // the ReplicaSet's uid
	set         string
	deployment  string
	app         string
	label       string // the version label
	ready       bool
	since       time.Duration
	terminating bool

	memo *corev1.Pod
	read *observe.Pod
}

func (p *pod) copy() *pod {
	out := *p
	out.memo, out.read = nil, nil
	return &out
}

// serves: it is in its Service's endpoints, once everybody knows.
func (p *pod) serves() bool { return p.ready && !p.terminating }

type kubeService struct {
	identity
	app string

	memo *corev1.Service
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

func (v *virtualService) kube() *networkingv1.VirtualService { return v.spec }

type destinationRule struct {
	identity
	spec *networkingv1.DestinationRule
}

func (d *destinationRule) kube() *networkingv1.DestinationRule { return d.spec }

// annotate sets or removes an annotation; it counts as a change of the generation, as it does for Deployments.
func (d *deployment) annotate(key string, value *string, by string) {
	old, had := d.annotations[key]
	before, problems := intent.Parse("", d.annotations)
	if value == nil && !had || value != nil && had && old == *value && d.setBy[key] == by {
		return
	}
	if d.annotations == nil {
		d.annotations = map[string]string{}
	}
	if d.setBy == nil {
		d.setBy = map[string]string{}
	}
	if value == nil {
		delete(d.annotations, key)
		delete(d.setBy, key)
	} else {
		d.annotations[key], d.setBy[key] = *value, by
	}
	if value == nil || !had || old != *value {
		d.generation++
		after, now := intent.Parse("", d.annotations)
		if after.Routes() != before.Routes() || intent.Usable(problems) != intent.Usable(now) {
			d.asked++
		}
	}
}

func (d *deployment) pause(paused bool) {
	if d.paused != paused {
		d.paused = paused
		d.generation++
	}
}
