package certs

import (
	"context"
	"crypto/tls"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// retryFiles is the pause before the next try to read missing files.
const retryFiles = time.Second

// Mounted serves tls.crt and tls.key of a directory, such as a mounted Secret of cert-manager's, and reads them again
// when they change. It writes nothing: what issues the certificate also has to write its CA to the webhook
// configurations.
type Mounted struct {
	served
	directory string
	lock      sync.Mutex // serializes load
}

// NewMounted makes a Certificate from the files in a directory, which need not exist yet. AddTo starts it.
func NewMounted(directory string) *Mounted {
	return &Mounted{served: served{now: time.Now}, directory: directory}
}

// AddTo implements Certificate.
func (m *Mounted) AddTo(mgr manager.Manager) error {
	register()
	return mgr.Add(m)
}

// NeedLeaderElection is false: every replica serves, and so needs the certificate.
func (m *Mounted) NeedLeaderElection() bool { return false }

// Start watches the files until the context ends. It waits for them, because a Secret may be mounted before it is
// filled. While files are damaged, it keeps the current certificate.
func (m *Mounted) Start(ctx context.Context) error {
	files, err := m.open()
	for ; err != nil; files, err = m.open() {
		ctrl.LoggerFrom(ctx).Info("waiting for the webhook's certificate", "because", err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retryFiles):
		}
	}
	m.load(ctx, files)
	// The watcher holds its lock during the callback, and load needs it too.
	files.RegisterCallback(func(tls.Certificate) { go m.load(ctx, files) })
	return files.Start(ctx)
}

// load serves what the watcher has read last. It asks the watcher for that, because calls may overtake each other.
func (m *Mounted) load(ctx context.Context, files *certwatcher.CertWatcher) {
	m.lock.Lock()
	defer m.lock.Unlock()
	pair, err := files.GetCertificate(nil)
	if before := m.current.Load(); err != nil || before != nil && before.Leaf.Equal(pair.Leaf) {
		return
	}
	m.serve(ctx, pair)
}

func (m *Mounted) open() (*certwatcher.CertWatcher, error) {
	in := func(file string) string { return filepath.Join(m.directory, file) }
	return certwatcher.New(in(corev1.TLSCertKey), in(corev1.TLSPrivateKeyKey))
}
