// Command alone is kubectl by itself, for tests that run hundreds of them: `lab kubectl` begins with what initialises
// Kubernetes and Istio, three times the processor time of most commands.
package main

import (
	"os"

	"grayscale.dev/grayscale/test/lab/kubectl"
)

func main() {
	if err := kubectl.Command().Execute(); err != nil {
		os.Exit(1) // it has been printed
	}
}
