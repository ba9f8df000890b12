package cluster

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	probeInterval = 20 * time.Millisecond
	// readyTimeout is per component: far beyond what one needs on two cores, short of what a person would wait.
	readyTimeout = 2 * time.Minute
)

// waitFor asks a URL until it answers 200.
func waitFor(ctx context.Context, client *http.Client, url string) error {
	var last error
	err := wait.PollUntilContextTimeout(ctx, probeInterval, readyTimeout, true, func(ctx context.Context) (bool, error) {
		last = probe(ctx, client, url)
		return last == nil, nil
	})
	if err != nil && last != nil {
		return fmt.Errorf("%w (%w)", last, err)
	}
	return err
}

// ask sends a GET.
func ask(ctx context.Context, client *http.Client, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(request)
}

func probe(ctx context.Context, client *http.Client, url string) error {
	response, err := ask(ctx, client, url)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", url, response.Status)
	}
	return nil
}

// plainClient probes components over HTTP, and over HTTPS where nothing is worth protecting: it checks no certificate.
func plainClient() *http.Client {
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		Proxy:           nil, // a proxy of the user's environment must not see loopback traffic
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
	}}
}

// waitForDefaultAccount waits for what the first Pod of the cluster needs: without its namespace's ServiceAccount a Pod
// is refused. It also shows that the controllers work.
func waitForDefaultAccount(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	return wait.PollUntilContextTimeout(ctx, probeInterval, readyTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := client.CoreV1().ServiceAccounts(corev1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
}
