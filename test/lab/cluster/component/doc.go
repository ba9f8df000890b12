// Package component holds the lab's hidden commands: each runs one real component of Kubernetes or Istio in the
// foreground of a process of its own.
//
// A component's own command is built only when it is run: building kube-apiserver's installs signal handlers, and each
// registers flags and metrics that are global to a process.
package component
