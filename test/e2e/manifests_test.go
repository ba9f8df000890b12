package e2e

import (
	"fmt"
	"strings"
)

// The manifests are those of users who do not know grayscale: plain Services and Deployments, no version label.
const (
	webService = `
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector:
    app: web
  ports:
  - name: http
    port: 80
    targetPort: 8080
`
	// tcpService has the test's own port in place of %d.
	tcpService = `
apiVersion: v1
kind: Service
metadata:
  name: store
spec:
  selector:
    app: store
  ports:
  - name: tcp-store
    port: %d
    targetPort: 6379
`
	// tlsService has pods that speak TLS themselves, on a port with a usual name for that.
	tlsService = `
apiVersion: v1
kind: Service
metadata:
  name: vault
spec:
  selector:
    app: vault
  ports:
  - name: https
    port: %d
    targetPort: 8443
`
	// httpService is a Service with HTTP ports only: their names and numbers replace %s.
	httpService = `
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  selector:
    app: web
  ports:%s
`
	bothService = `
apiVersion: v1
kind: Service
metadata:
  name: shop
spec:
  selector:
    app: shop
  ports:
  - name: http
    port: 80
    targetPort: 8080
  - name: tcp-events
    port: %d
    targetPort: 6379
`
)

// The mesh client's sidecar has one listener per TCP port for all namespaces: each story has its own port.
const (
	canaryTCPPort = 6101
	twoPortsPort  = 6102
	tlsPort       = 6103
	udpPort       = 6104
)

// webWith is Service web with these ports, written name:number.
func webWith(ports ...string) string {
	var list strings.Builder
	for _, p := range ports {
		name, number, _ := strings.Cut(p, ":")
		fmt.Fprintf(&list, "\n  - name: %s\n    port: %s\n    targetPort: 8080", name, number)
	}
	return fmt.Sprintf(httpService, list.String())
}

// web is a Deployment of two pods behind Service web; each annotation is one line of YAML without the prefix.
func web(name string, annotations ...string) string {
	return deployment("web", name, annotations...)
}

func deployment(app, name string, annotations ...string) string {
	var marks strings.Builder
	for _, a := range annotations {
		fmt.Fprintf(&marks, "\n    grayscale.dev/%s", a)
	}
	if len(annotations) == 0 {
		marks.WriteString(" {}")
	}
	return fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata:
  name: %[2]s
  annotations:%[3]s
spec:
  replicas: 2
  selector:
    matchLabels:
      app: %[1]s
      instance: %[2]s
  template:
    metadata:
      labels:
        app: %[1]s
        instance: %[2]s
    spec:
      containers:
      - name: app
        image: example/%[1]s:%[2]s
        ports:
        - containerPort: 8080
        - containerPort: 6379
`, app, name, marks.String())
}

// all joins manifests into one file.
func all(manifests ...string) string {
	return strings.Join(manifests, "\n---\n")
}
