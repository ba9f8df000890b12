// Package cluster brings one lab up and down: etcd, kube-apiserver, kube-controller-manager, the Pod runner, istiod and
// two Envoys, each a process of its own, none of them in a container.
//
// One process, `lab up`, supervises the others. It holds two locks for as long as it lives: a file lock in the lab's
// directory, and a listener that claims the lab's second octet X. Pods have addresses 10.X.a.b in the API, because
// Kubernetes refuses 127.0.0.0/8 in EndpointSlices, and listen on 127.X.a.b, because only loopback addresses exist on
// the machine; istiod and the API server's egress proxy translate the one into the other.
package cluster
