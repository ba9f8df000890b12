package mesh

// Reasons of problems that a mesh has with a release (intent.Problem.Reason).
const (
	// ReasonNotInstalled is for a cluster without the mesh's kinds.
	ReasonNotInstalled = "IstioMissing"
	// ReasonUnroutableService is for a Service for whose clients the mesh chooses no pods.
	ReasonUnroutableService = "UnroutableService"
	// ReasonNoRoutablePort is for a Service without a TCP port.
	ReasonNoRoutablePort = "NoRoutablePort"
	// ReasonTLSPort is for a Service with a port that can only be routed by the server name of TLS clients.
	ReasonTLSPort = "TLSPort"
	// ReasonMirrorNeedsHTTP is for a mirror on a Service whose ports carry connections, which cannot be copied.
	ReasonMirrorNeedsHTTP = "MirrorNeedsHTTP"
	// ReasonHostConflict is for an object of others that already routes the Service's host.
	ReasonHostConflict = "HostConflict"
	// ReasonRuleConflict is for an object of others that keeps our subsets from some clients, or whose settings our
	// subsets would take away.
	ReasonRuleConflict = "DestinationRuleConflict"
	// ReasonNameTaken is for an object with the name of ours that grayscale did not write.
	ReasonNameTaken = "NameTaken"
)
