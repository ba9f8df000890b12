// Package pods is the lab's kubelet: it binds, "runs" and reports every Pod of the lab's API server without containers.
//
// It registers one Node, binds every unbound Pod to it and follows all Pods and Services by informers. A Pod gets the
// address 10.X.a.b in the API, because Kubernetes refuses 127.0.0.0/8 in EndpointSlices, and listens on 127.X.a.b,
// because only loopback addresses exist on the machine.
//
// What runs depends on the image:
//   - image name `grayscale` (last path element, any tag): the binary named in DIR/grayscale.path, as a child process,
//     with a token of the Pod's ServiceAccount;
//   - `lab/missing...`, or tag `bad-image` or `does-not-exist`: nothing, the pull fails for ever;
//   - anything else: the echo app, in this process, on every TCP containerPort.
package pods
