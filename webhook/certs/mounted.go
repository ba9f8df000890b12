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

// retryFiles is the pause before missing files are looked for again.
const retryFiles = time.Second

// Mounted serves with tls.crt and tls.key of a directory, such as a mounted Secret of cert-manager's, and reads them
// again when they change. It writes nothing: who makes the certificate also has the API server trust it.
type Mounted struct {
	served
	directory string
	lock      sync.Mutex // of load
}

// NewMounted makes a Certificate of the files in a directory, which need not be there yet. AddTo starts it.
func NewMounted(directory string) *Mounted {
	return &Mounted{served: served{now: time.Now}, directory: directory}
}

// AddTo implements Certificate.
func (m *Mounted) AddTo(mgr manager.Manager) error {
	register()
	return mgr.Add(m)
}

// NeedLeaderElection tells the manager that every replica serves, and so needs the certificate.
func (m *Mounted) NeedLeaderElection() bool { return false }

// Start follows the files until the context ends. It waits for them, because a Secret may be mounted before it is
// filled. Files that are damaged later leave the current certificate as it is.
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
	// The watcher calls back with its lock held.
	files.RegisterCallback(func(tls.Certificate) { go m.load(ctx, files) })
	return files.Start(ctx)
}

// load serves what the watcher has read last. Two calls may overtake each other, so it asks for that itself.
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
