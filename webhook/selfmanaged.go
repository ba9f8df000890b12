package webhook

import (
	"context"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"grayscale.dev/grayscale/routing"
)

const (
	// DefaultLifetime is that of certificates where no other is chosen.
	DefaultLifetime = 365 * 24 * time.Hour
	// ShortestLifetime leaves time for every step: certificates know no fractions of a second, and clocks differ.
	ShortestLifetime = time.Hour

	// spread is how long a CA that nobody trusted before is given to reach every API server.
	spread = 2 * time.Second

	retryFirst = 50 * time.Millisecond
	retryMost  = 30 * time.Second
)

// CertificateOptions say where the serving certificate lives and who has to trust it. All but Lifetime are required.
type CertificateOptions struct {
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

// SelfManaged needs nobody else: the replicas make certificates, share them in one Secret, have the API server trust their
// CAs, and rotate them, as rotation says. They watch the Secret and the webhook configurations, so that whatever somebody
// else does to them is made good at once.
type SelfManaged struct {
	served
	options  CertificateOptions
	rotation rotation
}

// NewSelfManaged makes a Certificate that has none to serve with yet; Setup starts it.
func NewSelfManaged(options CertificateOptions) *SelfManaged {
	if options.Lifetime == 0 {
		options.Lifetime = DefaultLifetime
	}
	return &SelfManaged{served: served{now: time.Now}, options: options,
		rotation: rotation{names: hosts(options.Namespace, options.Service), lifetime: options.Lifetime}}
}

// keeper is a SelfManaged with access to the API server, and what this replica remembers. One worker uses it.
type keeper struct {
	*SelfManaged
	cache  client.Reader // the Secret and the webhook configurations, and nothing else
	live   client.Reader
	writer client.Client

	held    shared              // the last content of the Secret that was whole
	since   time.Time           // when its last rotation was first seen
	seen    map[string]sighting // of the CAs in it that are trusted, by their bytes
	retired bool                // grayscale is being uninstalled
}

// sighting is what a replica knows of a CA that the webhook configurations have.
type sighting struct {
	since time.Time // when this replica first saw that
	ahead bool      // while its certificate was the next one still: long before it is served
}

func (c *SelfManaged) addTo(mgr manager.Manager) error {
	only := func(name string) fields.Selector { return fields.OneTermEqualSelector(metav1.ObjectNameField, name) }
	objects := map[client.Object]cache.ByObject{
		&corev1.Secret{}: {Namespaces: map[string]cache.Config{c.options.Namespace: {FieldSelector: only(c.options.Secret)}}},
		&admissionregistrationv1.MutatingWebhookConfiguration{}:   {Field: only(c.options.Configuration)},
		&admissionregistrationv1.ValidatingWebhookConfiguration{}: {Field: only(c.options.Configuration)},
	}
	// The manager's cache would need rights to read all Secrets.
	own, err := cache.New(mgr.GetConfig(), cache.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: mgr.GetScheme(),
		Mapper: mgr.GetRESTMapper(), ByObject: objects})
	if err != nil {
		return err
	}
	if err := mgr.Add(everywhere{own}); err != nil {
		return err
	}
	everyReplica, anyName := false, true // several replicas may be in one process, of a test
	k := &keeper{SelfManaged: c, cache: own, live: mgr.GetAPIReader(), writer: mgr.GetClient()}
	loop, err := controller.New("certificate", mgr, controller.Options{Reconciler: k, NeedLeaderElection: &everyReplica,
		SkipNameValidation: &anyName,
		RateLimiter:        workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](retryFirst, retryMost)})
	if err != nil {
		return err
	}
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request { return []reconcile.Request{{}} })
	for o := range objects {
		if err := loop.Watch(source.Kind(own, o, one)); err != nil {
			return err
		}
	}
	// Where none of the objects exists there is no event to begin with.
	return loop.Watch(source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		q.Add(reconcile.Request{})
		return nil
	}))
}

// everywhere is a cache for replicas that do not lead as well.
type everywhere struct{ cache.Cache }

// NeedLeaderElection tells the manager so.
func (everywhere) NeedLeaderElection() bool { return false }

// Reconcile makes one step: it writes the Secret where that is due; else it serves with what the Secret says, as far as that
// is trusted, and has the API server trust the rest. What it writes comes back by the watch, and with it the next step.
func (k *keeper) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	now := k.now()
	secret := &corev1.Secret{}
	key := types.NamespacedName{Namespace: k.options.Namespace, Name: k.options.Secret}
	err := k.cache.Get(ctx, key, secret)
	absent := apierrors.IsNotFound(err)
	if err != nil && !absent {
		return reconcile.Result{}, err
	}
	configurations, err := k.configurations(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	k.retired = retired(configurations, k.retired)
	if absent && k.current.Load() != nil && (k.retired || !inUse(configurations)) {
		return reconcile.Result{}, nil // grayscale is being uninstalled: what is made now would stay
	}
	s := k.rotation.read(secret.Data, now)
	if !s.rotated.Equal(k.held.rotated) {
		k.since = now
	}
	o := outlook{held: k.held, since: k.since, trusted: trustedByAny(configurations), nextTrusted: s.next != nil && trustedByAll(configurations, s.next.ca)}
	after, why, err := k.rotation.step(s, o, now)
	if err != nil {
		return reconcile.Result{}, err
	}
	if why != "" {
		if err := k.store(ctx, secret, absent, after); err != nil {
			return again(err)
		}
		ctrl.LoggerFrom(ctx).Info("wrote the webhook's certificate", "because", why)
		return reconcile.Result{}, nil
	}
	k.held = s
	wait := k.follow(ctx, s, configurations, now)
	if wrote, err := k.trust(ctx, secret, configurations); wrote || err != nil {
		return again(err)
	}
	if wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	return reconcile.Result{RequeueAfter: k.rotation.again(s, o, now)}, nil
}

// again comes back at once where somebody else was first: the watch may have told of it already.
func again(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: retryFirst}, nil
	}
	return reconcile.Result{}, err
}

// store writes the Secret. Of several replicas that do at once one is first: the API server refuses the others, and they
// go on from what the first has written.
func (k *keeper) store(ctx context.Context, secret *corev1.Secret, absent bool, s shared) error {
	data, err := s.write()
	if err != nil {
		return err
	}
	if absent {
		secret = &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: k.options.Namespace, Name: k.options.Secret}, Data: data}
		return k.writer.Create(ctx, secret, client.FieldOwner(routing.FieldManager))
	}
	secret.Data = data
	return k.writer.Update(ctx, secret, client.FieldOwner(routing.FieldManager))
}

// follow lets the certificate be served that the Secret says, once every API server has its CA. It gives how long that
// takes at least; 0 where time alone changes nothing.
func (k *keeper) follow(ctx context.Context, s shared, configurations []client.Object, now time.Time) time.Duration {
	k.look(s, configurations, now)
	before, leaf := k.current.Load(), s.current.serving.Leaf
	sighting, trusted := k.seen[string(s.current.ca.Raw)]
	if before != nil && before.Leaf.Equal(leaf) || !trusted {
		return 0
	}
	since := sighting.since
	if issued := k.rotation.issued(s.current); before == nil && issued.Before(since) {
		since = issued // this replica has just started; whoever made the certificate had its CA trusted at once
	}
	if wait := since.Add(spread).Sub(now); wait > 0 && !sighting.ahead {
		return wait
	}
	k.serve(ctx, s.current.serving)
	return 0
}

// look remembers since when the CAs of the current and the next certificate have been trusted.
func (k *keeper) look(s shared, configurations []client.Object, now time.Time) {
	seen := map[string]sighting{}
	for _, p := range []*pair{s.current, s.next} {
		if !trustedByAll(configurations, p.ca) {
			continue
		}
		before, known := k.seen[string(p.ca.Raw)]
		if !known {
			before.since = now
		}
		before.ahead = before.ahead || p == s.next
		seen[string(p.ca.Raw)] = before
	}
	k.seen = seen
}
