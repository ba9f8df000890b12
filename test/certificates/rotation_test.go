package certificates

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

const secret = "grayscale-webhook-certificate"

// rotations are enough for each fault to meet each number of replicas; make soak makes a thousand.
var rotations = flag.Int("rotations", 60, "how many times TestRotations has the CA rotated")

// The CA rotates again and again, while replicas come, go and are updated. The test writes an older date into the
// Secret, because the replicas rotate by that date only. In between the Secret is deleted, emptied and damaged, and the
// replicas repair it by rotating.
func TestRotations(t *testing.T) {
	install(t)
	load := admit(t)
	begin := time.Now()
	seen := map[string]bool{}
	roomy := &room{}
	old := base64.StdEncoding.EncodeToString([]byte(begin.Add(-365 * 24 * time.Hour).Format(time.RFC3339)))
	for n := range *rotations {
		before := get(t, secret).Data[corev1.TLSCertKey]
		seen[string(before)] = true
		if found := []int{3, 4, 3, 5}; n%16 == 7 {
			scale(t, found[n/16%len(found)])
		}
		switch n % 5 {
		case 1:
			remove(t)
		case 2:
			write(t, "null")
		case 3:
			write(t, `{"tls.crt": "`+base64.StdEncoding.EncodeToString([]byte("damaged"))+`"}`)
		default:
			write(t, `{"rotated": "`+old+`"}`)
		}
		soon(t, fmt.Sprintf("rotation %d", n), func() error { return rotated(before) })
		load.settled()
		roomy.wait(t)
		if load.failed() {
			t.Fatalf("after rotation %d a request has failed", n)
		}
	}
	load.end(t)
	t.Logf("%d rotations in %s", *rotations, time.Since(begin).Round(time.Second))
	if len(seen) != *rotations {
		t.Errorf("%d certificates were served, want %d", len(seen), *rotations)
	}
}

// mostFiles bounds the open files of the lab's way from the API server to Pods, two for each connection. A replica
// takes 1024 connections from one address, and here all of them come from one.
const mostFiles = 2 * 1500

// room keeps the open files below mostFiles. The API server makes new connections for every bundle, and keeps idle ones
// for 90 s: in a cluster there are months between two bundles. The connections of a replica end with it, so room
// replaces all replicas from time to time, as an update of grayscale does.
type room struct{ updated time.Time }

func (r *room) wait(t *testing.T) {
	t.Helper()
	files := fmt.Sprintf("/proc/%d/fd", harness.ComponentPID(t, "lab"))
	for range 240 {
		open, err := os.ReadDir(files)
		if err != nil {
			t.Fatal(err)
		}
		if len(open) > mostFiles/2 && time.Since(r.updated) > 20*time.Second {
			restart(t)
			r.updated = time.Now()
		}
		if len(open) < mostFiles {
			return
		}
		time.Sleep(time.Second / 2)
	}
	t.Fatal("connections of the API server stay open")
}

// write merges into the Secret's data.
func write(t *testing.T, data string) {
	t.Helper()
	_, err := harness.Kube().CoreV1().Secrets(system).Patch(context.Background(), secret, types.MergePatchType, []byte(`{"data": `+data+`}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T) {
	t.Helper()
	if err := harness.Kube().CoreV1().Secrets(system).Delete(context.Background(), secret, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// rotated fails until the Secret has another certificate, every replica serves it, and every webhook has the CAs that
// the Secret says.
func rotated(before []byte) error {
	s, err := harness.Kube().CoreV1().Secrets(system).Get(context.Background(), secret, metav1.GetOptions{})
	if err != nil {
		return err
	}
	bundle := s.Data["ca.crt"]
	if bytes.Equal(s.Data[corev1.TLSCertKey], before) || len(bundle) == 0 {
		return errors.New("the Secret still has the certificate that it had")
	}
	if err := allServe(s, bundle); err != nil {
		return err
	}
	trusted, err := bundles()
	if err != nil {
		return err
	}
	for webhook, got := range trusted {
		if !bytes.Equal(got, bundle) {
			return fmt.Errorf("%s has other CAs", webhook)
		}
	}
	return nil
}
