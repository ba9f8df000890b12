package sim

import (
	"strconv"

	"grayscale.dev/grayscale/observe"
)

// reader is what the product reads of the cluster: what the watches of its process have brought.
type reader struct {
	*observe.Snapshot
	cache *cache
}

var _ observe.Reader = reader{}

func newReader(c *cache) reader {
	r := reader{&observe.Snapshot{ClusterDomain: domain}, c}
	for k := range kinds {
		r.take(k)
	}
	return r
}

// Seen is how far the watch of Deployments has come.
func (r reader) Seen(string) string {
	return strconv.FormatInt(r.cache.watches[deployments].version, 10)
}

// take takes over what is known of a kind.
func (r reader) take(k kind) {
	switch table := r.cache.tables[k]; k {
	case deployments:
		r.Deployments = all(table, (*deployment).kube)
	case pods:
		r.Pods = all(table, (*pod).known)
	case services:
		r.Services = all(table, (*kubeService).kube)
	case virtualServices:
		r.VirtualServices = all(table, (*virtualService).kube)
	case destinationRules:
		r.DestinationRules = all(table, (*destinationRule).kube)
	}
}

func all[T object, K any](table []object, kube func(T) K) []K {
	out := make([]K, len(table))
	for i, o := range table {
		out[i] = kube(o.(T))
	}
	return out
}
