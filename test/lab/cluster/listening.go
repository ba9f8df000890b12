package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/util/wait"
)

// awaitEnvoy waits until an Envoy answers on its port. It opens that port only when istiod has sent its listeners: its
// admin interface is ready before, and stays so where the port cannot be had.
func (l *lab) awaitEnvoy(ctx context.Context, component string, admin, port int, detail string) error {
	client, url := plainClient(), l.ports.url("http", admin)
	err := waitFor(ctx, client, url+"/ready")
	if err == nil {
		err = wait.PollUntilContextTimeout(ctx, probeInterval, readyTimeout, true, func(ctx context.Context) (bool, error) {
			bound, err := l.bound(ctx, client, url, port)
			return bound && answers(ctx, client, l.ports.url("http", port)), err
		})
	}
	if err != nil {
		return fmt.Errorf("%s is not ready: %w: see %s", component, err, l.dir.log(component))
	}
	l.progress.ready(component, detail)
	return nil
}

// listenerDump is what Envoy's admin interface tells of its listeners (envoy.admin.v3.ListenersConfigDump).
type listenerDump struct {
	Configs []struct {
		Active *struct {
			Listener listenerAddress `json:"listener"`
		} `json:"active_state"`
		Error *struct {
			Failed  listenerAddress `json:"failed_configuration"`
			Details string          `json:"details"`
		} `json:"error_state"`
	} `json:"configs"`
}

type listenerAddress struct {
	Address struct {
		Socket struct {
			Address string `json:"address"`
			Port    int    `json:"port_value"`
		} `json:"socket_address"`
	} `json:"address"`
}

func (l listenerAddress) is(host string, port int) bool {
	return l.Address.Socket.Address == host && l.Address.Socket.Port == port
}

// bound asks an Envoy whether it listens on the port; that it could not is the error.
func (l *lab) bound(ctx context.Context, client *http.Client, admin string, port int) (bool, error) {
	var dump listenerDump
	if err := get(ctx, client, admin+"/config_dump?resource=dynamic_listeners", &dump); err != nil {
		return false, nil // it is asked again
	}
	for _, c := range dump.Configs {
		if c.Error != nil && c.Error.Failed.is(l.ports.host, port) {
			if err := l.ports.firstTaken(roleOf(port)); err != nil {
				return false, err
			}
			return false, fmt.Errorf("port %d on %s: %s", port, l.ports.host, c.Error.Details)
		}
		if c.Active != nil && c.Active.Listener.is(l.ports.host, port) {
			return true, nil
		}
	}
	return false, nil
}

// get reads JSON.
func get(ctx context.Context, client *http.Client, url string, into any) error {
	response, err := ask(ctx, client, url)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	return json.NewDecoder(response.Body).Decode(into)
}

// answers tells whether a port answers HTTP, with whatever status: no Service is there yet.
func answers(ctx context.Context, client *http.Client, url string) bool {
	response, err := ask(ctx, client, url)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil
}
