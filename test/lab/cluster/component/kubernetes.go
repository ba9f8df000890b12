package component

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

// APIServer is the hidden `lab kube-apiserver`; its arguments are those of kube-apiserver.
func APIServer() *cobra.Command {
	return foreign("kube-apiserver", "Run the Kubernetes API server", apiserver.NewAPIServerCommand)
}

// ControllerManager is the hidden `lab kube-controller-manager`; its arguments are those of kube-controller-manager.
func ControllerManager() *cobra.Command {
	return foreign("kube-controller-manager", "Run the controllers of Kubernetes", controllermanager.NewControllerManagerCommand)
}

// foreign hands all arguments to a command made elsewhere.
func foreign(name, short string, build func() *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Hidden: true, DisableFlagParsing: true,
		Run: func(_ *cobra.Command, args []string) {
			command := build()
			command.SetArgs(args)
			os.Exit(cli.Run(command))
		},
	}
}
