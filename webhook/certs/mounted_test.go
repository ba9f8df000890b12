package certs

import (
	"context"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// put replaces the files as a kubelet does: all at once, with a symbolic link.
func put(t *testing.T, dir string, p *pair) {
	t.Helper()
	version := "..version-" + serial(p)
	if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{corev1.TLSCertKey: p.certificate, corev1.TLSPrivateKeyKey: p.key} {
		if err := os.WriteFile(filepath.Join(dir, version, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			continue
		}
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	before, _ := os.Readlink(filepath.Join(dir, "..data")) // none at first
	if err := os.Symlink(version, filepath.Join(dir, "..data.new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..data.new"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if before == "" {
		return
	}
	if err := os.RemoveAll(filepath.Join(dir, before)); err != nil {
		t.Fatal(err)
	}
}

// Files may appear late, and may change. Damaged files do not change what is served.
func TestMountedFilesAreFollowed(t *testing.T) {
	dir := t.TempDir()
	m := NewMounted(dir)
	config := &tls.Config{}
	m.TLS(config)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- m.Start(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	if m.Ready(nil) == nil {
		t.Error("it is ready without files")
	}
	for _, p := range []*pair{issued(t, time.Now()), issued(t, time.Now()), issued(t, time.Now())} {
		put(t, dir, p)
		limit := time.Now().Add(time.Minute)
		for {
			if got, err := config.GetCertificate(nil); err == nil && got.Leaf.Equal(p.serving.Leaf) {
				break
			} else if time.Now().After(limit) {
				t.Fatalf("another certificate is served: %v", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := m.Ready(nil); err != nil {
			t.Error(err)
		}
		damaged := *p
		damaged.certificate = []byte("damaged")
		if err := os.WriteFile(filepath.Join(dir, "..data", corev1.TLSCertKey), damaged.certificate, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
