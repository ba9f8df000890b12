package security

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"istio.io/api/networking/v1alpha3"
	networkingv1 "istio.io/client-go/pkg/apis/networking/v1"
	istioclient "istio.io/client-go/pkg/clientset/versioned"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"grayscale.dev/grayscale/routing/intent"
	"grayscale.dev/grayscale/routing/istio"
	"grayscale.dev/grayscale/test/harness"
)

// tenant is a user who may do everything in one namespace, Istio's objects included, and nothing elsewhere.
type tenant struct {
	ns    string
	kube  kubernetes.Interface
	istio istioclient.Interface
}

func newTenant(t *testing.T) tenant {
	t.Helper()
	ns, ctx := harness.Namespace(t), context.Background()
	everything := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "everything"},
		Rules: []rbacv1.PolicyRule{{APIGroups: []string{"*"}, Resources: []string{"*"}, Verbs: []string{"*"}}}}
	if _, err := harness.Kube().RbacV1().Roles(ns).Create(ctx, everything, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "everything"},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "everything"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "tenant-of-" + ns}}}
	if _, err := harness.Kube().RbacV1().RoleBindings(ns).Create(ctx, binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	config := harness.Config()
	config.Impersonate = rest.ImpersonationConfig{UserName: "tenant-of-" + ns, Groups: []string{"system:authenticated"}}
	tn := tenant{ns: ns, kube: kubernetes.NewForConfigOrDie(config), istio: istioclient.NewForConfigOrDie(config)}
	harness.Eventually(t, "the tenant's rights are there", func() error {
		_, err := tn.kube.CoreV1().Services(ns).Create(ctx, harness.Service("web"), metav1.CreateOptions{})
		return err
	})
	return tn
}

// deploy creates a Deployment of the tenant's; the pairs are annotations without the prefix, and their values.
func (tn tenant) deploy(name string, pairs ...string) error {
	a := harness.App{Name: name, Label: "web", Annotations: map[string]string{}}
	for i := 0; i < len(pairs); i += 2 {
		a.Annotations[intent.Prefix+pairs[i]] = pairs[i+1]
	}
	_, err := tn.kube.AppsV1().Deployments(tn.ns).Create(context.Background(), a.Deployment(), metav1.CreateOptions{})
	return err
}

// onlyOwnHosts fails if a derived object of the tenant's namespace names another's host.
func (tn tenant) onlyOwnHosts(t *testing.T) {
	t.Helper()
	list, err := harness.Istio().NetworkingV1().VirtualServices(tn.ns).List(context.Background(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=grayscale"})
	if err != nil {
		t.Fatal(err)
	}
	for _, vs := range list.Items {
		for _, host := range vs.Spec.Hosts {
			if !strings.HasSuffix(host, "."+tn.ns+".svc.cluster.local") {
				t.Errorf("VirtualService %s/%s names host %s", vs.Namespace, vs.Name, host)
			}
		}
	}
}

// A tenant has no direct access to another namespace, and annotations give none: an annotation that names another
// namespace is refused with a message that says so.
func tenantCannotNameAnotherNamespace(t *testing.T) {
	v, tn, ctx := newVictim(t), newTenant(t), context.Background()
	before := routes(t, v.ns)
	if _, err := tn.istio.NetworkingV1().VirtualServices(v.ns).Get(ctx, "web-grayscale", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the tenant may read the victim's routes: %v", err)
	}
	for key, values := range map[string][]string{
		"service": {v.ns + "/web", "web." + v.ns, "web." + v.ns + ".svc", "web." + v.ns + ".svc.cluster.local", "../" + v.ns + "/web", v.ns + "%2fweb", "web,web." + v.ns},
		"stable":  {v.ns + "/web-v1", "../web-v1"},
		"version": {"v1,v2", "*", "../" + v.ns, "v1 in (v1,v2)", "version=v2"},
	} {
		for _, value := range values {
			if err := tn.deploy("web-v3", "strategy", "canary", "weight", "100", key, value); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), intent.Prefix+key) {
				t.Errorf("%s: %q is answered with %v", key, value, err)
			}
		}
	}
	for _, name := range []string{"web." + v.ns, "web." + v.ns + ".svc.cluster.local"} { // a name of that form exists for Deployments
		if err := tn.deploy(name, "strategy", "canary", "weight", "100", "service", "web"); err != nil {
			t.Errorf("Deployment %s: %v", name, err)
		}
	}
	tn.onlyOwnHosts(t)
	v.untouched(t, before)
}

// Twins: the tenant has a Service and Deployments of the same names, annotated with everything that a later version of
// grayscale might read. Their release, its end and the ConfigMap grayscale-retire affect only the tenant.
func tenantsTwinsConcernTheTenantAlone(t *testing.T) {
	v, tn, ctx := newVictim(t), newTenant(t), context.Background()
	before := routes(t, v.ns)
	if err := tn.deploy("web-v1"); err != nil {
		t.Fatal(err)
	}
	harness.WaitReady(t, tn.ns, "web-v1")
	host := "web." + v.ns + ".svc.cluster.local"
	if err := tn.deploy("web-v2", "strategy", "canary", "weight", "100", "hosts", host, "gateways", "istio-system/public", "virtual-service", v.ns+"/web-grayscale",
		"mirror-to", host, "match", "true", "state", `{"stable":{"deployment":"web-v1","version":"v2"}}`); err != nil {
		t.Fatal(err)
	}
	harness.WaitProgrammed(t, tn.ns, "web-v2", "canary 100% of web")
	tn.onlyOwnHosts(t)
	v.untouched(t, before)

	if err := tn.kube.AppsV1().Deployments(tn.ns).Delete(ctx, "web-v1", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := tn.kube.CoreV1().ConfigMaps(tn.ns).Create(ctx, configMap("grayscale-retire"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := tn.kube.AppsV1().Deployments(v.ns).Delete(ctx, "web-v2", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("the tenant deletes the victim's Deployment: %v", err)
	}
	doorIsOpen(t)
	v.untouched(t, before)
}

// A Service that is an alias of the victim's gives no access: it has no pods of its own.
func tenantsAliasClaimsNothing(t *testing.T) {
	v, tn, ctx := newVictim(t), newTenant(t), context.Background()
	before := routes(t, v.ns)
	alias := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "alias"},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web." + v.ns + ".svc.cluster.local"}}
	if _, err := tn.kube.CoreV1().Services(tn.ns).Create(ctx, alias, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := tn.deploy("web-v2", "strategy", "canary", "weight", "100", "service", "alias"); err != nil {
		t.Fatal(err)
	}
	harness.WaitCondition(t, tn.ns, "web-v2", intent.ConditionAccepted, "False", "alias")
	tn.onlyOwnHosts(t)
	v.untouched(t, before)
}

// A tenant may write Istio's objects too. grayscale never merges or copies the tenant's rules and routes for the
// victim's host into derived objects. They only change the traffic of the tenant's own clients, and the victim's
// condition says so.
func tenantsIstioObjectsAreNotTakenOver(t *testing.T) {
	v, tn, ctx := newVictim(t), newTenant(t), context.Background()
	before := routes(t, v.ns)
	host := "web." + v.ns + ".svc.cluster.local"
	rule := &networkingv1.DestinationRule{ObjectMeta: metav1.ObjectMeta{Name: "theirs"}, Spec: v1alpha3.DestinationRule{Host: host, ExportTo: []string{"*"},
		TrafficPolicy: &v1alpha3.TrafficPolicy{ConnectionPool: &v1alpha3.ConnectionPoolSettings{Http: &v1alpha3.ConnectionPoolSettings_HTTPSettings{MaxRequestsPerConnection: 1}}},
		Subsets:       []*v1alpha3.Subset{{Name: istio.SubsetName("v2"), Labels: map[string]string{"version": "v1"}}}}}
	if _, err := tn.istio.NetworkingV1().DestinationRules(tn.ns).Create(ctx, rule, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	harness.WaitCondition(t, v.ns, "web-v2", intent.ConditionProgrammed, "False", fmt.Sprintf("DestinationRule %s/theirs", tn.ns))
	v.untouchedBut(t, before, tn.ns)

	// It looks like one of grayscale's own, down to the name, labels and state, and routes the victim's host.
	forged := &networkingv1.VirtualService{ObjectMeta: metav1.ObjectMeta{Name: "web-grayscale", Labels: map[string]string{"app.kubernetes.io/managed-by": "grayscale"},
		Annotations: map[string]string{intent.KeyState: `{"stable":{"deployment":"web-v1","version":"v2"}}`}},
		Spec: v1alpha3.VirtualService{Hosts: []string{host}, Http: []*v1alpha3.HTTPRoute{{
			Route: []*v1alpha3.HTTPRouteDestination{{Destination: &v1alpha3.Destination{Host: host, Subset: istio.SubsetName("v2")}}}}}}}
	if _, err := tn.istio.NetworkingV1().VirtualServices(tn.ns).Create(ctx, forged, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := tn.deploy("web-v1"); err != nil {
		t.Fatal(err)
	}
	// Until the controller has reconciled, the webhook takes the forged state for the served one: web-v1 is v2 in it.
	harness.Eventually(t, "the tenant's candidate is admitted", func() error {
		return tn.deploy("web-v2", "strategy", "canary", "weight", "100")
	})
	harness.Eventually(t, "grayscale makes the forged object its Service's own", func() error {
		vs, err := harness.Istio().NetworkingV1().VirtualServices(tn.ns).Get(ctx, "web-grayscale", metav1.GetOptions{})
		if err == nil && vs.Spec.Hosts[0] == host {
			err = fmt.Errorf("it still names %s", host)
		}
		return err
	})
	tn.onlyOwnHosts(t)
	v.untouchedBut(t, before, tn.ns)

	if err := tn.istio.NetworkingV1().DestinationRules(tn.ns).Delete(ctx, "theirs", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	harness.WaitProgrammed(t, v.ns, "web-v2", "canary 50% of web")
	v.untouched(t, before)
}
