package cluster

import (
	"context"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// defaultManifests is where the repository keeps the kustomization that installs grayscale.
const defaultManifests = "manifests/base"

// Commands are `lab up`, `lab down`, `lab restart` and `lab grayscale`.
func Commands() []*cobra.Command {
	return []*cobra.Command{upCommand(), downCommand(), restartCommand(), grayscaleCommand()}
}

func upCommand() *cobra.Command {
	var o Options
	var background, detached bool
	cmd := &cobra.Command{
		Use: "up --dir DIR", Short: "Bring a lab up, and stay until SIGINT or SIGTERM takes it down", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if background {
				return detach(ctx, o.Dir, o.arguments(), cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			p := newProgress(detached)
			err := up(ctx, o, p)
			if err != nil {
				p.fail(err)
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Dir, "dir", "", "directory for the lab's files")
	flags.IntVar(&o.BasePort, "base-port", 0, "first of "+strconv.Itoa(portCount)+" ports on 127.0.0.1, all under "+strconv.Itoa(lowestEphemeral)+"; 0 takes free ones on an address of the lab's own")
	flags.DurationVar(&o.IstioDebounce, "istio-debounce", 10*time.Millisecond, "how long istiod waits for further changes before it pushes (Istio's default is 100ms)")
	flags.DurationVar(&o.PodGrace, "pod-grace", 3*time.Second, "how long a deleted pod goes on serving")
	flags.StringVar(&o.Grayscale, "grayscale", "", "binary of grayscale to install at once")
	flags.StringVar(&o.Manifests, "manifests", defaultManifests, "kustomization that installs grayscale")
	flags.BoolVar(&background, "detach", false, "return once the lab is ready; `lab down` ends it")
	flags.BoolVar(&detached, "detached", false, "report progress on file descriptor 3")
	_ = flags.MarkHidden("detached") // it exists: the line above
	return cmd
}

// arguments are those of the `lab up` that goes on in the background.
func (o Options) arguments() []string {
	args := []string{
		"up", "--detached", "--dir", o.Dir, "--base-port", strconv.Itoa(o.BasePort),
		"--istio-debounce", o.IstioDebounce.String(), "--pod-grace", o.PodGrace.String(), "--manifests", o.Manifests,
	}
	if o.Grayscale != "" {
		args = append(args, "--grayscale", o.Grayscale)
	}
	return args
}

func downCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "down --dir DIR", Short: "Take a lab down", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ended, err := down(cmd.Context(), dir)
			if err == nil && !ended {
				show(cmd.OutOrStdout(), "no lab is up in %s", dir)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the lab's directory")
	return cmd
}

func restartCommand() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "restart --dir DIR COMPONENT", Short: "Kill a component of a lab and start it anew, as after a crash", Args: cobra.ExactArgs(1),
		Long: "Kill a component of a lab (a name of lab.json's pids) and start it anew, as after a crash. It returns once the API server is ready.",
		RunE: func(cmd *cobra.Command, args []string) error { return restart(cmd.Context(), dir, args[0]) },
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the lab's directory")
	return cmd
}

func grayscaleCommand() *cobra.Command {
	var dir, binary, manifests string
	var stop bool
	cmd := &cobra.Command{
		Use: "grayscale --dir DIR (--bin PATH | --stop)", Short: "Install grayscale in a lab that is up, replace it, or remove it", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer cancel()
			if stop {
				return stopGrayscale(ctx, dir, manifests)
			}
			if err := startGrayscale(ctx, dir, binary, manifests); err != nil {
				return err
			}
			show(cmd.OutOrStdout(), "grayscale is installed, its webhook answers")
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "the lab's directory")
	cmd.Flags().StringVar(&binary, "bin", "bin/grayscale", "binary of grayscale")
	cmd.Flags().StringVar(&manifests, "manifests", defaultManifests, "kustomization that installs it; --stop takes the one that was installed")
	cmd.Flags().BoolVar(&stop, "stop", false, "remove it")
	return cmd
}

func startGrayscale(ctx context.Context, dir, binary, manifests string) error {
	state, err := ReadState(dir)
	if err != nil {
		return err
	}
	if err := checkBinary(binary); err != nil {
		return err
	}
	if manifests, err = findManifests(manifests); err != nil {
		return err
	}
	d, err := openDirectory(dir)
	if err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", state.Kubeconfig)
	if err != nil {
		return err
	}
	config.WarningHandler = rest.NoWarnings{}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return install(ctx, d, config, self, binary, manifests)
}

func stopGrayscale(ctx context.Context, dir, manifests string) error {
	if _, err := ReadState(dir); err != nil {
		return err
	}
	d, err := openDirectory(dir)
	if err != nil {
		return err
	}
	if manifests, err = installedManifests(d, manifests); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return uninstall(ctx, d, self, manifests)
}
