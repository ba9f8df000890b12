package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

const (
	grayscaleNamespace  = "grayscale-system"
	grayscaleDeployment = "grayscale"
	installTimeout      = 2 * time.Minute
)

// install puts the product's binary into a lab: the Pod runner takes it from DIR/grayscale.path wherever a Pod's image
// is grayscale, and the kustomization is applied as `kubectl apply --server-side -k` does.
func install(ctx context.Context, d directory, config *rest.Config, self, binary, manifests string) error {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	_, err = client.AppsV1().Deployments(grayscaleNamespace).Get(ctx, grayscaleDeployment, metav1.GetOptions{})
	again := err == nil
	if err := os.WriteFile(d.grayscalePath(), []byte(binary+"\n"), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(d.grayscaleManifests(), []byte(manifests+"\n"), 0o600); err != nil {
		return err
	}
	if err := kubectl(ctx, self, d, "apply", "--server-side", "--force-conflicts", "-k", manifests); err != nil {
		return err
	}
	if again { // its Pods run the binary that was there before
		if err := kubectl(ctx, self, d, "-n", grayscaleNamespace, "rollout", "restart", "deployment/"+grayscaleDeployment); err != nil {
			return err
		}
	}
	if err := kubectl(ctx, self, d, "-n", grayscaleNamespace, "rollout", "status", "deployment/"+grayscaleDeployment, "--timeout="+installTimeout.String()); err != nil {
		return fmt.Errorf("%w: see %s", err, d.file("logs", grayscaleNamespace+"_*.log"))
	}
	return waitForWebhook(ctx, client)
}

// uninstall deletes what install applied and waits until it is gone.
func uninstall(ctx context.Context, d directory, self, manifests string) error {
	if err := kubectl(ctx, self, d, "delete", "--ignore-not-found", "-k", manifests); err != nil {
		return err
	}
	for _, path := range []string{d.grayscalePath(), d.grayscaleManifests()} {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// waitForWebhook waits until the API server asks grayscale about Deployments. A webhook that cannot be reached is
// skipped (failurePolicy Ignore), so the only proof is an answer: a strategy that does not exist has to be denied.
func waitForWebhook(ctx context.Context, client kubernetes.Interface) error {
	probe := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Name: "lab-webhook-probe", Namespace: corev1.NamespaceDefault,
			Annotations: map[string]string{"grayscale.dev/strategy": "lab-probe"},
		},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "lab-webhook-probe"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "lab-webhook-probe"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: "probe"}}},
			},
		},
	}
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, installTimeout, true, func(ctx context.Context) (bool, error) {
		_, err := client.AppsV1().Deployments(probe.Namespace).Create(ctx, probe, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil || apierrors.IsTimeout(err) || apierrors.IsInternalError(err) || apierrors.IsServerTimeout(err) {
			return false, nil
		}
		if strings.Contains(err.Error(), "admission webhook") {
			return true, nil
		}
		return false, err
	})
	if err != nil {
		return fmt.Errorf("grayscale's webhook does not deny `grayscale.dev/strategy: lab-probe`, so it is not being asked: %w", err)
	}
	return nil
}

// kubectl runs this binary's own kubectl as the lab's administrator; what it says is shown only when it fails.
func kubectl(ctx context.Context, self string, d directory, args ...string) error {
	cmd := exec.CommandContext(ctx, self, append([]string{"kubectl", "--kubeconfig", d.kubeconfig()}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// installGrayscale is install for a lab that is coming up.
func (l *lab) installGrayscale(ctx context.Context, config *rest.Config) error {
	if err := install(ctx, l.dir, config, l.self, l.options.Grayscale, l.options.Manifests); err != nil {
		return err
	}
	l.progress.ready("grayscale", l.options.Grayscale)
	return nil
}

// checkBinary refuses what could never run, before anything is started.
func checkBinary(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("the grayscale binary: %w: build it first, for example with `go build -o bin/grayscale ./cmd/grayscale`", err)
	}
	if info.IsDir() || info.Mode()&0o111 == 0 {
		return fmt.Errorf("the grayscale binary: %s is not an executable file", path)
	}
	return nil
}

// findManifests makes the kustomization's path absolute; a relative one is looked for here and beside the lab's bin
// folder.
func findManifests(path string) (string, error) {
	candidates := []string{path}
	if self, err := os.Executable(); err == nil && !filepath.IsAbs(path) {
		candidates = append(candidates, filepath.Join(filepath.Dir(filepath.Dir(self)), path))
	}
	for _, candidate := range candidates {
		if _, err := os.Stat(filepath.Join(candidate, "kustomization.yaml")); err == nil {
			return filepath.Abs(candidate)
		}
	}
	return "", fmt.Errorf("no kustomization.yaml in %s: name the folder with --manifests", strings.Join(candidates, " or "))
}

// installedManifests is the kustomization that install applied last, else the one asked for.
func installedManifests(d directory, asked string) (string, error) {
	raw, err := os.ReadFile(d.grayscaleManifests())
	if errors.Is(err, os.ErrNotExist) {
		return findManifests(asked)
	}
	return strings.TrimSpace(string(raw)), err
}

// show writes one line for the user.
func show(out io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(out, format+"\n", args...) // a closed standard output is no reason to fail
}
