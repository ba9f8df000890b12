package mesh

// Reasons of problems that a mesh has with a release (intent.Problem.Reason).
const (
	// ReasonNotInstalled is a cluster without the mesh's kinds.
	ReasonNotInstalled = "IstioMissing"
	// ReasonUnroutableService is a Service whose clients the mesh chooses no pods for.
	ReasonUnroutableService = "UnroutableService"
	// ReasonNoRoutablePort is a Service without a TCP port.
	ReasonNoRoutablePort = "NoRoutablePort"
	// ReasonTLSPort is a Service with a port that can only be routed by the name that TLS clients ask for.
	ReasonTLSPort = "TLSPort"
	// ReasonMirrorNeedsHTTP is a mirror on a Service whose ports carry connections, which cannot be copied.
	ReasonMirrorNeedsHTTP = "MirrorNeedsHTTP"
	// ReasonHostConflict is an object of somebody else's that routes the Service's host already.
	ReasonHostConflict = "HostConflict"
	// ReasonRuleConflict is an object of somebody else's beside which our subsets would not reach every client, or would
	// take something away.
	ReasonRuleConflict = "DestinationRuleConflict"
	// ReasonNameTaken is an object with the name of ours that grayscale did not write.
	ReasonNameTaken = "NameTaken"
)
