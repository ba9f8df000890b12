package istio

// What the tests compare objects with.
var (
	EqualRoutes = equalVirtualService
	EqualRule   = equalDestinationRule
)
