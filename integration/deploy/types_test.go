package deploy

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// decode reads a manifest into the type of its kind. No field may be unknown, and
// none may be there twice.
func decode(t *testing.T, document []byte) any {
	t.Helper()
	var kind struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := yaml.Unmarshal(document, &kind); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	object, ok := map[string]any{
		"v1 ConfigMap":                       new(corev1.ConfigMap),
		"v1 Service":                         new(corev1.Service),
		"apps/v1 Deployment":                 new(appsv1.Deployment),
		"networking.k8s.io/v1 NetworkPolicy": new(networkingv1.NetworkPolicy),
	}[kind.APIVersion+" "+kind.Kind]
	if !ok {
		t.Fatalf("no kind of ours: %+v in\n%s", kind, document)
	}
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	return object
}

// manifests are the objects of a mode, by their type.
func manifests(t *testing.T, mode string) (all []any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(deployDir, "kubernetes", mode+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range documents(string(raw)) {
		all = append(all, decode(t, document))
	}
	return all
}

// TestPods checks each pod for what the restricted Pod Security Standard asks for,
// and the agent's container for what it must not have.
func TestPods(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		agents := 0
		for _, object := range manifests(t, mode) {
			deployment, ok := object.(*appsv1.Deployment)
			if !ok {
				continue
			}
			pod := deployment.Spec.Template
			if selector := deployment.Spec.Selector.MatchLabels; !covers(pod.Labels, selector) {
				t.Errorf("%s: %s selects %v, its pods have %v", mode, deployment.Name, selector, pod.Labels)
			}
			if token := pod.Spec.AutomountServiceAccountToken; token == nil || *token {
				t.Errorf("%s: %s is given the token of a service account", mode, deployment.Name)
			}
			for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
				checkRestricted(t, mode, c)
				if c.Name == "agent" {
					agents++
					checkAgent(t, mode, pod.Spec, c)
				}
			}
		}
		if agents != 1 {
			t.Errorf("%s: %d agents", mode, agents)
		}
	}
}

func checkRestricted(t *testing.T, mode string, c corev1.Container) {
	t.Helper()
	s := c.SecurityContext
	if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0 ||
		s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem ||
		s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation ||
		s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 ||
		s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: container %s may do more than it needs: %v", mode, c.Name, s)
	}
	if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() {
		t.Errorf("%s: container %s has no bounds: %v", mode, c.Name, c.Resources)
	}
}

// checkAgent: the agent mounts no Secret, nor what the proxy keeps, and writes to
// nothing that the proxy reads.
func checkAgent(t *testing.T, mode string, pod corev1.PodSpec, agent corev1.Container) {
	t.Helper()
	for _, mount := range agent.VolumeMounts {
		i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == mount.Name })
		if i < 0 {
			t.Fatalf("%s: there is no volume %s", mode, mount.Name)
		}
		if v := pod.Volumes[i]; v.Secret != nil || v.Projected != nil || v.HostPath != nil || v.Name == "state" || v.Name == "config" {
			t.Errorf("%s: the agent mounts %s", mode, mount.Name)
		}
		if mount.Name == "shared" && !mount.ReadOnly {
			t.Errorf("%s: the agent may change the CA that it trusts", mode)
		}
	}
	for _, v := range agent.Env {
		if from := v.ValueFrom; from != nil && (from.SecretKeyRef == nil || mode != "gateway" || v.Name != "PROXY_TOKEN") {
			t.Errorf("%s: the agent's %s is from elsewhere", mode, v.Name)
		}
	}
	if len(agent.EnvFrom) > 0 || pod.HostNetwork || pod.HostPID || pod.ShareProcessNamespace != nil {
		t.Errorf("%s: the agent sees more than its own", mode)
	}
}

// TestNetworkPolicies: the policies select the pods that there are. The gateway's
// agents get to the proxy's port and nowhere else.
func TestNetworkPolicies(t *testing.T) {
	t.Parallel()
	for _, mode := range modes {
		objects := manifests(t, mode)
		policyOf := make(map[string]*networkingv1.NetworkPolicy)
		for _, object := range objects {
			if policy, ok := object.(*networkingv1.NetworkPolicy); ok {
				policyOf[policy.Name] = policy
			}
		}
		for _, object := range objects {
			deployment, ok := object.(*appsv1.Deployment)
			if !ok {
				continue
			}
			labels := deployment.Spec.Template.Labels
			policy := policyOf[deployment.Name]
			if policy == nil || !covers(labels, policy.Spec.PodSelector.MatchLabels) {
				t.Fatalf("%s: no policy is for the pods of %s", mode, deployment.Name)
			}
			if !slices.Equal(policy.Spec.PolicyTypes, []networkingv1.PolicyType{"Ingress", "Egress"}) {
				t.Errorf("%s: %s is not bounded both ways", mode, deployment.Name)
			}
			if mode == "sidecar" || deployment.Name != "agentproxy-agent" {
				continue
			}
			if covers(labels, policyOf["agentproxy"].Spec.PodSelector.MatchLabels) {
				t.Error("gateway: the agent gets where the proxy gets, for policies add up")
			}
			egress := policy.Spec.Egress
			if len(egress) != 1 || len(egress[0].To) != 1 || len(egress[0].Ports) != 1 || egress[0].Ports[0].Port.IntVal != 8080 ||
				egress[0].To[0].PodSelector == nil || covers(labels, egress[0].To[0].PodSelector.MatchLabels) ||
				!covers(policyOf["agentproxy"].Spec.PodSelector.MatchLabels, egress[0].To[0].PodSelector.MatchLabels) {
				t.Errorf("gateway: the agent gets to %+v", egress)
			}
		}
	}
}

// covers reports whether a selector selects what has these labels.
func covers(labels, selector map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return len(selector) > 0
}
