package pods

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func service(selector map[string]string, port corev1.ServicePort) *corev1.Service {
	return &corev1.Service{Spec: corev1.ServiceSpec{Selector: selector, Ports: []corev1.ServicePort{port}}}
}

func TestSpeaksTCP(t *testing.T) {
	web := map[string]string{"app": "web"}
	redis, h2c := "redis", "kubernetes.io/h2c"
	tcpByName := corev1.ServicePort{Name: "tcp-store", Port: 80, TargetPort: intstr.FromInt32(8080)}
	for name, c := range map[string]struct {
		containerPort string
		services      []*corev1.Service
		want          bool
	}{
		"nothing says":                     {"", nil, false},
		"container port tcp":               {"tcp", nil, true},
		"container port mysql":             {"mysql", nil, true},
		"container port grpc-web":          {"grpc-web", nil, false},
		"Service by name":                  {"", []*corev1.Service{service(web, tcpByName)}, true},
		"Service wins over container port": {"tcp", []*corev1.Service{service(web, corev1.ServicePort{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)})}, false},
		"Service by appProtocol":           {"", []*corev1.Service{service(web, corev1.ServicePort{Name: "http", AppProtocol: &redis, Port: 80, TargetPort: intstr.FromInt32(8080)})}, true},
		"h2c is HTTP":                      {"", []*corev1.Service{service(web, corev1.ServicePort{AppProtocol: &h2c, Port: 80, TargetPort: intstr.FromInt32(8080)})}, false},
		"target by port name":              {"store", []*corev1.Service{service(web, corev1.ServicePort{Name: "tcp", Port: 80, TargetPort: intstr.FromString("store")})}, true},
		"other port":                       {"", []*corev1.Service{service(web, corev1.ServicePort{Name: "tcp", Port: 80, TargetPort: intstr.FromInt32(9090)})}, false},
		"other Pods":                       {"", []*corev1.Service{service(map[string]string{"app": "db"}, tcpByName)}, false},
		"no selector":                      {"", []*corev1.Service{service(nil, tcpByName)}, false},
		"UDP on the same port":             {"", []*corev1.Service{service(web, corev1.ServicePort{Name: "dns", Protocol: corev1.ProtocolUDP, Port: 80, TargetPort: intstr.FromInt32(8080)})}, false},
	} {
		port := corev1.ContainerPort{Name: c.containerPort, ContainerPort: 8080, Protocol: corev1.ProtocolTCP}
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Labels: web},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Ports: []corev1.ContainerPort{port}}}},
		}
		for _, s := range c.services {
			if s.Spec.Ports[0].Protocol == "" {
				s.Spec.Ports[0].Protocol = corev1.ProtocolTCP
			}
		}
		if got := speaksTCP(pod, port, c.services); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
