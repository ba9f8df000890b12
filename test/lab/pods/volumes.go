package pods

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	volumeutil "k8s.io/kubernetes/pkg/volume/util"
)

// volumesPeriod is how often the Secrets of a process Pod's volumes are read again: a kubelet takes up to a minute or
// two.
const volumesPeriod = time.Second

// mount writes the Secrets of a process Pod's volumes into its directory, with the kubelet's own writer: readers see
// the old files or the new ones. Without such volumes it does nothing, and says so.
func (r *runner) mount(ctx context.Context, s *sandbox) (mounted bool, err error) {
	pod := s.pod.Load()
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Secret == nil { // such as the token that every Pod gets: the process has a kubeconfig instead
			continue
		}
		secret, err := r.client.CoreV1().Secrets(pod.Namespace).Get(ctx, v.Secret.SecretName, metav1.GetOptions{})
		if err != nil {
			return false, fmt.Errorf("volume %q: %w", v.Name, err)
		}
		dir := volumeDir(s.workDir, v.Name)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return false, err
		}
		writer, err := volumeutil.NewAtomicWriter(dir, "pod "+pod.Namespace+"/"+pod.Name)
		if err != nil {
			return false, err
		}
		files := map[string]volumeutil.FileProjection{}
		for name, content := range secret.Data {
			files[name] = volumeutil.FileProjection{Data: content, Mode: 0o600}
		}
		if err := writer.Write(files, nil); err != nil {
			return false, fmt.Errorf("volume %q: %w", v.Name, err)
		}
		mounted = true
	}
	return mounted, nil
}

func volumeDir(workDir, volume string) string { return filepath.Join(workDir, "volumes", volume) }

// relocate replaces the paths at which a container mounts volumes by where they are on this machine.
func relocate(args []string, mounts []corev1.VolumeMount, workDir string) {
	for _, m := range mounts {
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], m.MountPath, volumeDir(workDir, m.Name))
		}
	}
}
