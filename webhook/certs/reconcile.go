package certs

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"grayscale.dev/grayscale/routing"
)

// reconciler is a SelfManaged with access to the API server and with what this replica remembers. Only one worker uses
// it.
type reconciler struct {
	*SelfManaged
	cache  client.Reader // the Secret and the webhook configurations, and nothing else
	live   client.Reader
	writer client.Client

	lastGood     contents             // the last contents of the Secret with both certificates usable
	since        time.Time            // when this replica first saw the last rotation of lastGood
	seen         map[string]firstSeen // trusted CAs of the current and the next certificate, by their DER bytes
	uninstalling bool                 // grayscale is being uninstalled
}

// firstSeen is what a replica knows about a CA in the webhook configurations.
type firstSeen struct {
	at    time.Time // when this replica first saw it there
	ahead bool      // this replica saw it there while its certificate was still the next one
}

// Reconcile makes one step. Where a change of the Secret is due, it writes that. Otherwise it serves the current
// certificate as soon as it is trusted, and writes the CAs to the webhook configurations. The watch reports each write,
// which starts the next step.
func (r *reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	now := r.now()
	secret, err := r.secret(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	configurations, err := r.configurations(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	r.uninstalling = uninstalling(configurations, r.uninstalling)
	if secret.UID == "" && r.current.Load() != nil && (r.uninstalling || !inUse(configurations)) {
		return reconcile.Result{}, nil // a Secret that is created during the uninstallation would be left behind
	}
	c := r.rotation.read(secret.Data, now)
	if !c.rotated.Equal(r.lastGood.rotated) {
		r.since = now
	}
	v := view{lastGood: r.lastGood, since: r.since, trusted: trustedByAny(configurations),
		nextTrusted: c.next != nil && trustedByAll(configurations, c.next.ca)}
	after, why, err := r.rotation.step(c, v, now)
	switch {
	case err != nil:
		return reconcile.Result{}, err
	case why != "":
		return r.store(ctx, secret, after, why)
	}
	r.lastGood = c
	wait := r.serveTrusted(ctx, c, configurations, now)
	if wrote, err := r.trust(ctx, secret, configurations); wrote || err != nil {
		return retry(err)
	}
	if wait == 0 {
		wait = r.rotation.requeueAfter(c, v, now)
	}
	return reconcile.Result{RequeueAfter: wait}, nil
}

// secret reads the Secret. It returns one without a UID where there is none.
func (r *reconciler) secret(ctx context.Context) (*corev1.Secret, error) {
	key, secret := types.NamespacedName{Namespace: r.options.Namespace, Name: r.options.Secret}, &corev1.Secret{}
	err := r.cache.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}, nil
	}
	return secret, err
}

// retry requeues at once where another replica wrote first, because the watch may have reported that write already.
func retry(err error) (reconcile.Result, error) {
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: retryFirst}, nil
	}
	return reconcile.Result{}, err
}

// store writes the Secret. Where several replicas do so at once, the API server accepts the first write and refuses the
// others. Those replicas continue from what the first has written.
func (r *reconciler) store(
	ctx context.Context, secret *corev1.Secret, c contents, why string,
) (reconcile.Result, error) {
	data, err := c.write()
	if err != nil {
		return reconcile.Result{}, err
	}
	secret.Data = data
	if secret.UID == "" {
		err = r.writer.Create(ctx, secret, client.FieldOwner(routing.FieldManager))
	} else {
		err = r.writer.Update(ctx, secret, client.FieldOwner(routing.FieldManager))
	}
	if err != nil {
		return retry(err)
	}
	ctrl.LoggerFrom(ctx).Info("wrote the webhook's certificate", "because", why)
	return reconcile.Result{}, nil
}

// serveTrusted serves the Secret's current certificate once every API server has had time to learn its CA. It returns
// how long to wait for that, and 0 where there is nothing to wait for.
func (r *reconciler) serveTrusted(
	ctx context.Context, c contents, configurations []client.Object, now time.Time,
) time.Duration {
	r.noteTrusted(c, configurations, now)
	before, leaf := r.current.Load(), c.current.serving.Leaf
	first, trusted := r.seen[string(c.current.ca.Raw)]
	if before != nil && before.Leaf.Equal(leaf) || !trusted {
		return 0
	}
	since := first.at
	if issued := r.rotation.issued(c.current); before == nil && issued.Before(since) {
		since = issued // this replica has just started: the CA is as old as the certificate
	}
	if wait := since.Add(propagation).Sub(now); wait > 0 && !first.ahead {
		return wait
	}
	r.serve(ctx, c.current.serving)
	return 0
}

// noteTrusted records since when the CAs of the current and the next certificate have been trusted.
func (r *reconciler) noteTrusted(c contents, configurations []client.Object, now time.Time) {
	seen := map[string]firstSeen{}
	for _, p := range []*pair{c.current, c.next} {
		if !trustedByAll(configurations, p.ca) {
			continue
		}
		first, known := r.seen[string(p.ca.Raw)]
		if !known {
			first.at = now
		}
		first.ahead = first.ahead || p == c.next
		seen[string(p.ca.Raw)] = first
	}
	r.seen = seen
}
