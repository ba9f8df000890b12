package e2e

import (
	"fmt"
	"testing"

	"grayscale.dev/grayscale/test/harness"
)

// dnsService has TCP and UDP on one port number, as DNS servers do.
const dnsService = `
apiVersion: v1
kind: Service
metadata:
  name: dns
spec:
  selector: {app: dns}
  ports:
  - {name: udp-dns, port: %[1]d, targetPort: 6379, protocol: UDP}
  - {name: tcp-dns, port: %[1]d, targetPort: 6379, protocol: TCP}
  - {name: udp-http, port: 80, targetPort: 8080, protocol: UDP}
  - {name: http, port: 80, targetPort: 8080, protocol: TCP}
`

// A UDP port, which Istio does not route, takes nothing from the TCP port of the same number.
func TestUDPOnTheSamePort(t *testing.T) {
	s := newStory(t)
	s.Apply(all(fmt.Sprintf(dnsService, udpPort), deployment("dns", "dns-v1")))
	harness.WaitReady(t, s.NS, "dns-v1")
	urls := []string{harness.URL(s.NS, "dns", 80), harness.TCPURL(s.NS, "dns", udpPort)}
	for _, url := range urls {
		s.load(url)
	}
	s.Apply(deployment("dns", "dns-v2", "strategy: canary", `weight: "30"`))
	s.Programmed("dns-v2", "canary 30% of dns")
	for _, url := range urls {
		harness.AssertSplit(t, url, split{"v1": 70, "v2": 30})
	}
	s.Annotate("dns-v2", "weight=100")
	s.Programmed("dns-v2", "canary 100% of dns")
	for _, url := range urls {
		harness.AssertOnly(t, url, "v2")
	}
}
