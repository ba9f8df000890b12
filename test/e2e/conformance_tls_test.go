package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"grayscale.dev/grayscale/test/harness"
)

// Case 2: "the same for TLS routes" (weights 100/0 -> 90/10 -> final). A port that is declared as TLS is not routed,
// and the candidate waits. If it is declared as TCP, the same connections are split, and TLS stays between client and
// pod.
func TestConformance02TLS(t *testing.T) {
	s := newStory(t)
	s.Apply(all(fmt.Sprintf(tlsService, tlsPort), deployment("vault", "vault-v1")))
	harness.WaitReady(t, s.NS, "vault-v1")
	s.speakTLS("vault-v1", "v1")
	url := harness.TLSURL(s.NS, "vault", tlsPort)
	harness.WaitServed(t, url)
	defer shakeHands(t, url)() // ends before the test's cleanups close the listeners

	s.Apply(unready(deployment("vault", "vault-v2", "strategy: canary")))
	harness.WaitCondition(t, s.NS, "vault-v2", "grayscale.dev/Accepted", "False", "set appProtocol: tcp on that port")
	s.Kubectl("patch", "service/vault", "--type=json", `-p=[{"op":"add","path":"/spec/ports/0/appProtocol","value":"tcp"}]`)
	harness.WaitCondition(t, s.NS, "vault-v2", "grayscale.dev/Programmed", "False", "no pod of")
	s.speakTLS("vault-v2", "v2")
	s.probes("vault-v2", true)
	s.Programmed("vault-v2", "canary 0% of vault")
	harness.AssertOnly(t, url, "v1")

	s.Annotate("vault-v2", "weight=10")
	s.Programmed("vault-v2", "canary 10% of vault")
	harness.AssertSplit(t, url, split{"v1": 90, "v2": 10})

	s.Annotate("vault-v2", "weight=100")
	s.Programmed("vault-v2", "canary 100% of vault")
	harness.AssertOnly(t, url, "v2")
}

// speakTLS answers in the place of a Deployment's pods on the port behind Service vault: the lab's app speaks no TLS.
// The certificate's common name is the version.
func (s story) speakTLS(deployment, version string) {
	s.T.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{certificate(s.T, version)}}
	var pods []corev1.Pod
	harness.Eventually(s.T, "the pods of "+deployment+" have addresses", func() error {
		list, err := harness.Kube().CoreV1().Pods(s.NS).List(context.Background(), metav1.ListOptions{LabelSelector: "instance=" + deployment})
		if err != nil {
			return err
		}
		pods = list.Items
		for _, p := range pods {
			if p.Status.PodIP == "" {
				return fmt.Errorf("pod %s has none", p.Name)
			}
		}
		if len(pods) != 2 {
			return fmt.Errorf("there are %d pods", len(pods))
		}
		return nil
	})
	for _, p := range pods {
		_, rest, _ := strings.Cut(p.Status.PodIP, ".") // the lab's pods listen on 127.X.a.b for 10.X.a.b
		listener, err := tls.Listen("tcp", "127."+rest+":8443", config)
		if err != nil {
			s.T.Fatal(err)
		}
		s.T.Cleanup(func() { _ = listener.Close() }) // the story is over
		go answerTLS(listener)
	}
}

// answerTLS shakes hands with everybody until the listener is closed.
func answerTLS(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer func() { _ = conn.Close() }() // the client reads no more
			buffer := make([]byte, 1)
			_, _ = conn.Read(buffer) // shakes hands, and waits until the client has gone
		}()
	}
}

func certificate(t testing.TB, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// shakeHands does so loadRate times per second, however long each takes, until the returned function is called: that
// fails the test if one failed.
func shakeHands(t *testing.T, url string) (end func()) {
	t.Helper()
	var (
		mu   sync.Mutex
		lost []error
		sent int
		all  sync.WaitGroup
		over = make(chan struct{})
	)
	all.Go(func() {
		tick := time.NewTicker(time.Second / loadRate)
		defer tick.Stop()
		for {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			sent++
			all.Go(func() {
				begun := time.Now()
				if _, err := harness.Ask(url); err != nil {
					mu.Lock()
					defer mu.Unlock()
					lost = append(lost, fmt.Errorf("begun at %s: %w", begun.Format("15:04:05.000"), err))
				}
			})
		}
	})
	return func() {
		t.Helper()
		close(over)
		all.Wait()
		if len(lost) > 0 || sent == 0 {
			t.Errorf("%d of %d handshakes with %s failed: %v", len(lost), sent, url, lost)
		}
	}
}
