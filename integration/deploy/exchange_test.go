package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

// exchangeValues have the gateway take tokens of the cluster's pods.
func exchangeValues(edit func(exchange map[string]any)) map[string]any {
	exchange := map[string]any{
		"issuers": []any{map[string]any{
			"issuer": "https://kubernetes.default.svc.cluster.local", "audience": "agentproxy", "keys_url": "https://kubernetes.default.svc/openid/v1/jwks",
			"ca_file": "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt", "token_file": "/var/run/secrets/kubernetes.io/serviceaccount/token",
			"labels": []any{map[string]any{"claims": map[string]any{"kubernetes.io/namespace": "ci"}, "label": "ci-{kubernetes.io/pod/name}"}},
		}},
		"from":      []any{map[string]any{"namespaceSelector": map[string]any{"matchLabels": map[string]any{"kubernetes.io/metadata.name": "ci"}}}},
		"apiServer": []any{"10.96.0.1/32"},
		"keySecret": "issued-key", "revokedConfigMap": "revoked-tokens",
	}
	if edit != nil {
		edit(exchange)
	}
	return map[string]any{"mode": "gateway", "exchange": exchange}
}

// TestExchange: the gateway with workload identity has a port for it, which those reach
// that may, the key that its replicas share, a way to the API server and its token there,
// and a configuration that agentproxy takes.
func TestExchange(t *testing.T) {
	t.Parallel()
	rendered, err := render(t, exchangeValues(nil))
	if err != nil {
		t.Fatal(err)
	}
	var config string
	seen := 0
	for _, document := range documents(rendered) {
		switch object := decode(t, document).(type) {
		case *corev1.ConfigMap:
			config = object.Data["config.yaml"]
		case *corev1.Service:
			seen++
			if !slices.ContainsFunc(object.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == 9081 }) {
				t.Errorf("the Service has no port for the exchange: %+v", object.Spec.Ports)
			}
		case *appsv1.Deployment:
			spec := object.Spec.Template.Spec
			proxy := object.Name == "agentproxy"
			if automount := *spec.AutomountServiceAccountToken; automount != proxy {
				t.Errorf("%s: automountServiceAccountToken is %v", object.Name, automount)
			}
			if proxy {
				seen++
				mounted := slices.ContainsFunc(spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/run/secrets/agentproxy-issued" })
				if !mounted || !slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.Secret != nil && v.Secret.SecretName == "issued-key" }) {
					t.Errorf("the replicas' key is not mounted: %+v", spec.Volumes)
				}
				// A mount of a single file (subPath) would not see changes.
				mounted = slices.ContainsFunc(spec.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == "/etc/agentproxy-revoked" && m.SubPath == "" })
				if !mounted || !slices.ContainsFunc(spec.Volumes, func(v corev1.Volume) bool { return v.ConfigMap != nil && v.ConfigMap.Name == "revoked-tokens" }) {
					t.Errorf("the list of revoked tokens is not mounted: %+v", spec.Volumes)
				}
			}
		case *networkingv1.NetworkPolicy:
			if object.Name != "agentproxy" {
				continue
			}
			seen++
			in, out := object.Spec.Ingress, object.Spec.Egress
			if from := in[len(in)-1]; len(from.Ports) != 2 || from.From[0].NamespaceSelector.MatchLabels["kubernetes.io/metadata.name"] != "ci" {
				t.Errorf("who may ask: %+v", in)
			}
			if to := out[len(out)-1]; to.To[0].IPBlock.CIDR != "10.96.0.1/32" {
				t.Errorf("the way to the API server: %+v", out)
			}
		}
	}
	if seen != 3 {
		t.Errorf("%d of the proxy's objects were seen", seen)
	}
	checkConfig(t, config)
}

// checkConfig has agentproxy read a configuration of a pod.
func checkConfig(t *testing.T, config string) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "agentproxy")
	if out, err := exec.Command("go", "build", "-C", filepath.Join("..", ".."), "-o", program, "./cmd/agentproxy").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.Command(program, "config", "show", "--config", file)
	cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH")}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s\n%s", err, out, config)
	}
	for _, want := range []string{"0.0.0.0:9081", "kubernetes.default.svc.cluster.local", "/run/secrets/agentproxy-issued/key", "/etc/agentproxy-revoked/revoked.json", "/run/secrets/agentproxy-tokens/tokens"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in force:\n%s", want, out)
		}
	}
}

// TestExchangeValues: values that would not work are refused, and public issuers need no
// token of the cluster.
func TestExchangeValues(t *testing.T) {
	t.Parallel()
	sidecar := exchangeValues(nil)
	sidecar["mode"] = "sidecar"
	for fail, values := range map[string]map[string]any{
		"exchange.issuers: a sidecar serves its own pod":         sidecar,
		"exchange.from: no pod could ask":                        exchangeValues(func(x map[string]any) { x["from"] = []any{} }),
		"exchange.keySecret: a replica would not take another's": exchangeValues(func(x map[string]any) { x["keySecret"] = "" }),
		"exchange.revokedConfigMap: without exchange.keySecret": func() map[string]any {
			values := exchangeValues(func(x map[string]any) { x["keySecret"] = "" })
			values["gateway"] = map[string]any{"replicas": 1}
			return values
		}(),
	} {
		if _, err := render(t, values); err == nil || !strings.Contains(err.Error(), fail) {
			t.Errorf("error %v, want %q", err, fail)
		}
	}
	public, err := render(t, exchangeValues(func(x map[string]any) { x["apiServer"] = []any{} }))
	if err != nil || strings.Contains(public, "automountServiceAccountToken: true") || strings.Contains(public, "6443") {
		t.Errorf("%v:\n%s", err, public)
	}
}
