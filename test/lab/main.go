// Command lab brings up a real Kubernetes control plane, istiod and Envoys on one Linux machine, without containers and
// without root, and puts load on it. Every component is a process of this one binary, but for Envoy.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/klog/v2"

	"grayscale.dev/grayscale/test/lab/cluster"
	"grayscale.dev/grayscale/test/lab/cluster/component"
	"grayscale.dev/grayscale/test/lab/kubectl"
	"grayscale.dev/grayscale/test/lab/load"
	"grayscale.dev/grayscale/test/lab/pods"
)

func main() {
	// Istio's packages take over the logs of Go and Kubernetes while they initialise, and write them to standard output,
	// where they would spoil what kubectl and the load print.
	klog.ClearLogger()
	log.SetOutput(os.Stderr)
	// The packages of Kubernetes register this one for every program that they are part of.
	if err := pflag.CommandLine.MarkHidden("version"); err != nil {
		log.Fatal(err)
	}
	root := &cobra.Command{
		Use: "lab", Short: "A real Kubernetes, Istio and Envoy on one machine, without containers",
		SilenceUsage: true, SilenceErrors: true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.AddCommand(cluster.Commands()...)
	root.AddCommand(kubectl.Command(), load.Command(), pods.Command(),
		component.Etcd(), component.APIServer(), component.ControllerManager(), component.Istiod())
	if err := root.Execute(); err != nil {
		if !errors.Is(err, cluster.ErrReported) {
			fmt.Fprintln(os.Stderr, "lab:", err)
		}
		os.Exit(1)
	}
}
