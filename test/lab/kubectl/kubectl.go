// Package kubectl is kubectl of the lab's own Kubernetes version, so that a machine needs none.
package kubectl

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
)

// Command finds its API server as kubectl does, by --kubeconfig or KUBECONFIG. Plugins are not looked for.
func Command() *cobra.Command {
	return &cobra.Command{
		Use: "kubectl ARGS...", Short: "Run kubectl (with KUBECONFIG or --kubeconfig, as ever)", DisableFlagParsing: true,
		Run: func(_ *cobra.Command, args []string) {
			streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
			// Discovery's own rate limit is kubectl's: 50 per second, bursts of 300.
			flags := genericclioptions.NewConfigFlags(true).WithDeprecatedPasswordFlag().
				WithDiscoveryBurst(300).WithDiscoveryQPS(50).WithWarningPrinter(streams)
			command := cmd.NewDefaultKubectlCommandWithArgs(cmd.KubectlOptions{
				Arguments: append([]string{"kubectl"}, args...), ConfigFlags: flags, IOStreams: streams,
			})
			command.SetArgs(args)
			if err := cli.RunNoErrOutput(command); err != nil {
				kubectlutil.CheckErr(err) // it prints the error as kubectl does, and ends with kubectl's status
			}
		},
	}
}
