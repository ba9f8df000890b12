package pods

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// tokenSeconds is how long a Pod's token is asked to be valid, as for a projected volume of a real Pod.
const tokenSeconds int64 = 3600

// credentials gives Pods what a projected ServiceAccount volume gives them: a token, and how to reach the API server.
type credentials struct {
	client  kubernetes.Interface
	cluster *rest.Config // whose API server and CA are handed on
}

// write asks for a token bound to the Pod and puts it and a kubeconfig that reads it into dir. Clients reread a token
// file by themselves, so writing again before renew keeps them going.
func (c credentials) write(ctx context.Context, pod *corev1.Pod, dir string) (kubeconfig string, renew time.Time, err error) {
	expiry := tokenSeconds
	answer, err := c.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, pod.Spec.ServiceAccountName,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
			ExpirationSeconds: &expiry,
			BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
		}}, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, fmt.Errorf("token of ServiceAccount %s/%s: %w", pod.Namespace, pod.Spec.ServiceAccountName, err)
	}
	token := filepath.Join(dir, "token")
	if err := replaceFile(token, []byte(answer.Status.Token)); err != nil {
		return "", time.Time{}, err
	}
	kubeconfig = filepath.Join(dir, "kubeconfig")
	if err := clientcmd.WriteToFile(c.config(pod.Namespace, token), kubeconfig); err != nil {
		return "", time.Time{}, err
	}
	left := time.Until(answer.Status.ExpirationTimestamp.Time)
	return kubeconfig, time.Now().Add(left * 8 / 10), nil
}

func (c credentials) config(namespace, tokenFile string) clientcmdapi.Config {
	const name = "lab"
	tls := c.cluster.TLSClientConfig
	return clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server: c.cluster.Host, CertificateAuthorityData: tls.CAData, CertificateAuthority: tls.CAFile,
			InsecureSkipTLSVerify: tls.Insecure, TLSServerName: tls.ServerName,
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {TokenFile: tokenFile}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name, Namespace: namespace}},
		CurrentContext: name,
	}
}

// replaceFile writes so that no reader ever sees half a file.
func replaceFile(path string, content []byte) error {
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
