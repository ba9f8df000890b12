package certs

import (
	"context"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

const (
	// DefaultLifetime is how long certificates are valid where Options.Lifetime is zero.
	DefaultLifetime = 365 * 24 * time.Hour
	// ShortestLifetime leaves time for every step: times in certificates are whole seconds, and clocks differ.
	ShortestLifetime = time.Hour

	// propagation is how long a new CA gets to reach every API server.
	propagation = 2 * time.Second

	retryFirst = 50 * time.Millisecond
	retryMost  = 30 * time.Second
)

// Options say where the serving certificate is kept and which webhooks get its CA. All but Lifetime are required.
type Options struct {
	// Namespace is grayscale's own: it holds the Secret, and the Service that the API server calls.
	Namespace string
	// Service is the name of the Service in front of the webhook.
	Service string
	// Secret is the name of the Secret that all replicas share.
	Secret string
	// Configuration is the name of the mutating and of the validating webhook configuration that get the CA.
	Configuration string
	// Lifetime is how long a certificate is valid; it is replaced after a quarter of that. DefaultLifetime where zero.
	Lifetime time.Duration
}

// SelfManaged needs no other component: the replicas issue certificates, share them in one Secret, write their CAs to
// the webhook configurations, and rotate them. They watch the Secret and the webhook configurations, and at once repair
// changes by others.
type SelfManaged struct {
	served
	options  Options
	rotation rotation
}

// NewSelfManaged makes a Certificate that serves nothing yet. AddTo starts it.
func NewSelfManaged(options Options) *SelfManaged {
	if options.Lifetime == 0 {
		options.Lifetime = DefaultLifetime
	}
	return &SelfManaged{served: served{now: time.Now}, options: options,
		rotation: rotation{names: hosts(options.Namespace, options.Service), lifetime: options.Lifetime}}
}

// AddTo implements Certificate.
func (c *SelfManaged) AddTo(mgr manager.Manager) error {
	register()
	// The manager's own cache would need the right to read all Secrets.
	own, err := cache.New(mgr.GetConfig(), cache.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(),
		Mapper: mgr.GetRESTMapper(), ByObject: c.watched()})
	if err != nil {
		return err
	}
	if err := mgr.Add(onEveryReplica{own}); err != nil {
		return err
	}
	everyReplica, anyName := false, true // a test has several replicas in one process
	r := &reconciler{SelfManaged: c, cache: own, live: mgr.GetAPIReader(), writer: mgr.GetClient()}
	loop, err := controller.New("certificate", mgr, controller.Options{Reconciler: r, NeedLeaderElection: &everyReplica,
		SkipNameValidation: &anyName,
		RateLimiter:        workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFirst, retryMost)})
	if err != nil {
		return err
	}
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{}}
	})
	for o := range c.watched() {
		if err := loop.Watch(source.Kind(own, o, one)); err != nil {
			return err
		}
	}
	// Without any of the objects there would be no event to start with.
	return loop.Watch(source.Func(first))
}

// first adds the first request.
func first(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	q.Add(reconcile.Request{})
	return nil
}

// watched are the Secret and the two webhook configurations.
func (c *SelfManaged) watched() map[client.Object]cache.ByObject {
	only := func(name string) fields.Selector { return fields.OneTermEqualSelector(metav1.ObjectNameField, name) }
	return map[client.Object]cache.ByObject{
		&corev1.Secret{}: {Namespaces: map[string]cache.Config{c.options.Namespace: {FieldSelector: only(c.options.Secret)}}},
		&admissionregistrationv1.MutatingWebhookConfiguration{}:   {Field: only(c.options.Configuration)},
		&admissionregistrationv1.ValidatingWebhookConfiguration{}: {Field: only(c.options.Configuration)},
	}
}

// onEveryReplica is a cache that starts whether its replica leads or not.
type onEveryReplica struct{ cache.Cache }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (onEveryReplica) NeedLeaderElection() bool { return false }
