package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	certutil "k8s.io/client-go/util/cert"
)

// identity is one component's user in the API server; what it may do is RBAC (objects/access.yaml).
type identity struct {
	name   string // of the component, and of its kubeconfig
	user   string
	groups string
}

var (
	admin       = identity{"admin", "admin", "system:masters"}
	controllers = identity{"controllers", "system:kube-controller-manager", ""}
	istiodUser  = identity{"istiod", "lab:istiod", ""}
	podRunner   = identity{"pods", "lab:pods", ""}
)

// writeCredentials makes the API server's certificate and ServiceAccount key, a token and a kubeconfig for each
// identity.
func writeCredentials(d directory, p ports) error {
	cert, key, err := certutil.GenerateSelfSignedCertKey(p.host, []net.IP{net.ParseIP("127.0.0.1")}, []string{"kubernetes.default.svc"})
	if err != nil {
		return fmt.Errorf("make the API server's certificate: %w", err)
	}
	accounts, err := newPrivateKey()
	if err != nil {
		return fmt.Errorf("make the key of ServiceAccount tokens: %w", err)
	}
	var tokens strings.Builder
	for _, who := range []identity{admin, controllers, istiodUser, podRunner} {
		token := newToken()
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", token, who.user, who.name, who.groups)
		path := d.kubeconfigOf(who.name)
		if who == admin {
			path = d.kubeconfig()
		}
		if err := clientcmd.WriteToFile(kubeconfig(p.url("https", p.apiServer), cert, token), path); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
	}
	for name, content := range map[string][]byte{
		"apiserver.crt": cert, "apiserver.key": key, "accounts.key": accounts, "tokens.csv": []byte(tokens.String()),
	} {
		if err := os.WriteFile(d.config(name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func newPrivateKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func newToken() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // never fails: it ends the program instead
	return hex.EncodeToString(raw)
}

func kubeconfig(server string, ca []byte, token string) clientcmdapi.Config {
	config := clientcmdapi.NewConfig()
	config.Clusters["lab"] = &clientcmdapi.Cluster{Server: server, CertificateAuthorityData: ca}
	config.AuthInfos["lab"] = &clientcmdapi.AuthInfo{Token: token}
	config.Contexts["lab"] = &clientcmdapi.Context{Cluster: "lab", AuthInfo: "lab", Namespace: "default"}
	config.CurrentContext = "lab"
	return *config
}
