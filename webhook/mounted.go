package webhook

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

// Mounted serves with tls.crt and tls.key of a directory, such as a Secret of cert-manager's that is mounted, and reads them
// again when they change. Whoever makes them also has the API server trust them: nothing is written.
type Mounted struct {
	served
	directory string
	taking    sync.Mutex
}

// filesAgain is the pause before files are looked for again that were not there.
const filesAgain = time.Second

// NewMounted makes a Certificate that has none to serve with yet; Setup starts it.
func NewMounted(directory string) *Mounted {
	return &Mounted{served: served{now: time.Now}, directory: directory}
}

func (m *Mounted) addTo(mgr manager.Manager) error { return mgr.Add(m) }

// NeedLeaderElection tells the manager that every replica serves, and so needs the certificate.
func (m *Mounted) NeedLeaderElection() bool { return false }

// Start follows the files until the context ends. It waits for them, since a Secret may be mounted before its maker has
// filled it. Files that are damaged later leave what is served as it is.
func (m *Mounted) Start(ctx context.Context) error {
	files, err := m.open()
	for ; err != nil; files, err = m.open() {
		ctrl.LoggerFrom(ctx).Info("waiting for the webhook's certificate", "because", err.Error())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(filesAgain):
		}
	}
	m.take(ctx, files)
	// The watcher calls back with its lock held.
	files.RegisterCallback(func(tls.Certificate) { go m.take(ctx, files) })
	return files.Start(ctx)
}

// take serves with what the watcher has read last, should two changes overtake each other.
func (m *Mounted) take(ctx context.Context, files *certwatcher.CertWatcher) {
	m.taking.Lock()
	defer m.taking.Unlock()
	pair, err := files.GetCertificate(nil)
	if before := m.current.Load(); err != nil || before != nil && before.Leaf.Equal(pair.Leaf) {
		return
	}
	m.serve(ctx, pair)
}

func (m *Mounted) open() (*certwatcher.CertWatcher, error) {
	return certwatcher.New(filepath.Join(m.directory, corev1.TLSCertKey), filepath.Join(m.directory, corev1.TLSPrivateKeyKey))
}
