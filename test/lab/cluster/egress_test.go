package cluster

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

func TestLoopbackOf(t *testing.T) {
	for in, want := range map[string]string{
		"10.20.1.7:9443":  "127.20.1.7:9443",
		"127.0.0.1:9443":  "127.0.0.1:9443",
		"10.21.1.7:9443":  "",
		"192.0.2.1:443":   "",
		"example.com:443": "",
		"[2001:db8::1]:1": "",
	} {
		got, err := loopbackOf(in, 20)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("loopbackOf(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestEgressTunnels(t *testing.T) {
	o, err := claimOctet()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = o.release() }()
	pod, err := net.Listen("tcp", net.JoinHostPort(o.host(9), "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pod.Close() }()
	go func() {
		conn, err := pod.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn)
		_ = conn.Close()
	}()
	socket := fmt.Sprintf("@grayscale-lab-test-%d", o.number)
	proxy, err := startEgress(socket, o.number)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = proxy.Close() }()

	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	port := pod.Addr().(*net.TCPAddr).Port
	if _, err := fmt.Fprintf(conn, "CONNECT 10.%d.0.9:%d HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", o.number, port); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(conn)
	answer, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("CONNECT: %v, %v", answer, err)
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := reader.ReadString('\n'); line != "hello\n" {
		t.Errorf("through the tunnel came %q, %v", line, err)
	}
}
