package component

import (
	"errors"
	"fmt"
	"net/url"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/embed"
)

// Etcd is the hidden `lab etcd`: one member that does not wait for the disk, since a lab's data never outlives it.
func Etcd() *cobra.Command {
	var dir, client, peer string
	cmd := &cobra.Command{
		Use: "etcd", Short: "Run etcd", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			config, err := etcdConfig(dir, client, peer)
			if err != nil {
				return err
			}
			server, err := embed.StartEtcd(config)
			if err != nil {
				return fmt.Errorf("start etcd: %w", err)
			}
			defer server.Close()
			select {
			case <-ctx.Done():
				return nil
			case err := <-server.Err():
				return fmt.Errorf("etcd ended: %w", err)
			case <-server.Server.StopNotify():
				return errors.New("etcd ended by itself")
			}
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "where the data goes")
	cmd.Flags().StringVar(&client, "client-url", "", "where clients connect")
	cmd.Flags().StringVar(&peer, "peer-url", "", "where members of the cluster would connect")
	return cmd
}

func etcdConfig(dir, client, peer string) (*embed.Config, error) {
	clientURL, err := url.Parse(client)
	if err != nil {
		return nil, fmt.Errorf("--client-url: %w", err)
	}
	peerURL, err := url.Parse(peer)
	if err != nil {
		return nil, fmt.Errorf("--peer-url: %w", err)
	}
	config := embed.NewConfig()
	config.Name, config.Dir = "lab", dir
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{*clientURL}, []url.URL{*clientURL}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{*peerURL}, []url.URL{*peerURL}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.UnsafeNoFsync = true
	config.LogLevel, config.LogOutputs = "warn", []string{"stderr"}
	return config, nil
}
