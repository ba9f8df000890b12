package certificates

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"grayscale.dev/grayscale/test/harness"
)

const (
	secret    = "grayscale-webhook-certificate"
	rotations = 1000
)

// A thousand rotations of the CA, while replicas come and go. Time is made to pass by an older date in the Secret, which
// is all that the replicas go by. In between the Secret is deleted, emptied and damaged, which they make good by rotating.
func TestThousandRotations(t *testing.T) {
	install(t)
	load := admit(t)
	begin := time.Now()
	seen := map[string]bool{}
	for n := range rotations {
		before := get(t, secret).Data[corev1.TLSCertKey]
		seen[string(before)] = true
		if found := []int{5, 2, 4, 3}; n%100 == 10 {
			scale(t, found[n/100%len(found)])
		}
		switch n % 50 {
		case 20:
			remove(t)
		case 30:
			write(t, "null")
		case 40:
			write(t, `{"tls.crt": "`+base64.StdEncoding.EncodeToString([]byte("damaged"))+`"}`)
		default:
			write(t, `{"rotated": "`+base64.StdEncoding.EncodeToString([]byte(time.Now().Add(-365*24*time.Hour).Format(time.RFC3339)))+`"}`)
		}
		soon(t, fmt.Sprintf("rotation %d", n), func() error { return rotated(before) })
		load.settled()
		room(t)
		if load.failed() {
			t.Fatalf("after rotation %d a request has failed", n)
		}
	}
	load.end(t)
	t.Logf("%d rotations in %s", rotations, time.Since(begin).Round(time.Second))
	if len(seen) != rotations {
		t.Errorf("%d certificates were served, want %d", len(seen), rotations)
	}
}

// room waits while the lab's way from the API server to Pods is close to its limit of open files: the API server makes new
// connections for every bundle, and lets go of idle ones after 90 s only.
func room(t *testing.T) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d/", harness.ComponentPID(t, "lab"))
	limits, err := os.ReadFile(proc + "limits")
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(string(limits), "Max open files")
	fields := strings.Fields(after)
	if !found || len(fields) == 0 {
		t.Fatalf("no limit of open files in %s", limits)
	}
	most, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	for range 120 {
		open, err := os.ReadDir(proc + "fd")
		if err != nil {
			t.Fatal(err)
		}
		if len(open) < most*3/4 {
			return
		}
		time.Sleep(time.Second)
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

// rotated fails until the Secret has another certificate, every replica serves it, and every webhook has the CAs that the
// Secret says.
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
