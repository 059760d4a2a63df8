package workload

import (
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// kubernetesClaims are those that kube-apiserver puts on a token that is bound to a pod
// (pkg/serviceaccount/claims.go of Kubernetes 1.34).
func kubernetesClaims(i *testIssuer) jwt.MapClaims {
	now := i.clock.now()
	return jwt.MapClaims{
		"aud": []string{"agentproxy"},
		"exp": now.Add(time.Hour).Unix(), "iat": now.Unix(), "nbf": now.Unix(),
		"iss": i.URL,
		"jti": "7b2c1b35-5f8e-4f3a-9b0e-3f1e6a1f0c55",
		"kubernetes.io": map[string]any{
			"namespace":      "ci",
			"node":           map[string]any{"name": "node-1", "uid": "0f3c9f2e-58a7-4d3e-a0c6-7a2b1f0f9d11"},
			"pod":            map[string]any{"name": "runner-7f9c4", "uid": "c5a0d6d8-54b2-4c0b-8f5f-1f6f7d0a9e21"},
			"serviceaccount": map[string]any{"name": "builder", "uid": "9a4be8ac-6a5c-49a6-8a7d-3d3d6c1a2f10"},
			"warnafter":      now.Add(3607 * time.Second / 2).Unix(),
		},
		"sub": "system:serviceaccount:ci:builder",
	}
}

// githubClaims are those of a job of GitHub Actions.
func githubClaims(i *testIssuer) jwt.MapClaims {
	now := i.clock.now()
	return jwt.MapClaims{
		"jti": "example-id", "sub": "repo:acme/web:ref:refs/heads/main", "aud": "agentproxy", "ref": "refs/heads/main",
		"repository": "acme/web", "repository_owner": "acme", "repository_id": "74", "repository_owner_id": "65", "run_id": "30433642",
		"run_number": "10", "run_attempt": "2", "actor": "octocat", "workflow": "example-workflow", "event_name": "workflow_dispatch",
		"ref_type": "branch", "ref_protected": "true", "job_workflow_ref": "acme/web/.github/workflows/agent.yml@refs/heads/main", "runner_environment": "github-hosted",
		"iss": i.URL, "nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
}

// TestPlatforms has tokens as Kubernetes and GitHub make them.
func TestPlatforms(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := rsaKey(t, "8EjXwTlTnnjMZOoTCqkRiJNLMGLWnQlPwnYCUUuwqp4")
	i.publish(key)
	label := func(claims map[string]string, label string) Label {
		l, err := ParseLabel(claims, label)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	c := i.checker(t, func(c *Issuer) {
		c.Labels = []Label{
			label(map[string]string{"kubernetes.io/namespace": "ci", "kubernetes.io/serviceaccount/name": "builder"}, "ci-{kubernetes.io/pod/name}"),
			label(map[string]string{"sub": "system:serviceaccount:*"}, "pods"),
			label(map[string]string{"repository": "acme/web", "ref": "refs/heads/main", "ref_protected": "true"}, "web-{run_id}"),
		}
	})
	for _, test := range []struct {
		name   string
		claims jwt.MapClaims
		edit   func(jwt.MapClaims)
		want   string // the label, "" for none
	}{
		{"a pod", kubernetesClaims(i), nil, "ci-runner-7f9c4"},
		{"of another namespace", kubernetesClaims(i), func(c jwt.MapClaims) { c["kubernetes.io"].(map[string]any)["namespace"] = "ci2" }, "pods"},
		{"whose name is not known", kubernetesClaims(i), func(c jwt.MapClaims) { delete(c["kubernetes.io"].(map[string]any), "pod") }, ""},
		{"a job", githubClaims(i), nil, "web-30433642"},
		{"of a fork", githubClaims(i), func(c jwt.MapClaims) { c["repository"] = "mallory/web" }, ""},
		{"of a repository that ends so", githubClaims(i), func(c jwt.MapClaims) { c["repository"] = "mallory/acme/web" }, ""},
		{"of another branch", githubClaims(i), func(c jwt.MapClaims) { c["ref"] = "refs/heads/main2" }, ""},
		{"of a branch that is not protected", githubClaims(i), func(c jwt.MapClaims) { c["ref_protected"] = "false" }, ""},
		{"a claim missing", githubClaims(i), func(c jwt.MapClaims) { delete(c, "ref_protected") }, ""},
	} {
		claims := maps.Clone(test.claims)
		if test.edit != nil {
			test.edit(claims)
		}
		id, err := c.Check(t.Context(), sign(t, key, claims))
		switch {
		case test.want == "" && codeOf(err) != NoLabel:
			t.Errorf("%s: %+v, %v", test.name, id, err)
		case test.want != "" && (err != nil || id.Label != test.want):
			t.Errorf("%s: %+v, %v, want %s", test.name, id, err, test.want)
		}
	}
}

func TestLabels(t *testing.T) {
	t.Parallel()
	claims, refused := decode([]byte(`{"sub":"job:1","n":123456789012345678901,"yes":true,"list":["a","b",5],"long":"` + strings.Repeat("x", 200) + `",
		"space":"a b","colon":"a:b","empty":"","null":null,"o":{"p/q":"deep","r":{"s":"deeper"}},"o/r/s":"own","one":"a","two":"b--c","three":"c-","https://example.com/claim":"url"}`))
	if refused != nil {
		t.Fatal(refused)
	}
	for _, test := range []struct {
		claims map[string]string
		label  string
		want   string // "" for none
	}{
		{map[string]string{"sub": "job:*"}, "fixed", "fixed"},
		{map[string]string{"n": "123456789012345678901"}, "n-{n}-{yes}", "n-123456789012345678901-true"},
		{map[string]string{"list": "b"}, "x", "x"},
		{map[string]string{"list": "5"}, "x", "x"},
		{map[string]string{"list": "c"}, "x", ""},
		{map[string]string{"yes": "true"}, "{sub}", ""},
		{map[string]string{"yes": "true"}, "{list}", ""},
		{map[string]string{"yes": "true"}, "{o}", ""},
		{map[string]string{"yes": "true"}, "{long}", ""},
		{map[string]string{"yes": "true"}, "{space}", ""},
		{map[string]string{"yes": "true"}, "{colon}", ""},
		{map[string]string{"yes": "true"}, "{empty}", ""},
		{map[string]string{"yes": "true"}, "{null}", ""},
		{map[string]string{"yes": "true"}, "{none}", ""},
		{map[string]string{"o/p/q": "deep"}, "{o/p/q}", "deep"},
		{map[string]string{"o/r/s": "own"}, "{o/r/s}", "own"},
		{map[string]string{"o/r/s": "deeper"}, "x", ""},
		{map[string]string{"https://example.com/claim": "url"}, "{https://example.com/claim}", "url"},
		{map[string]string{"none": "*", "sub": "job:1"}, "x", ""},
		{map[string]string{"o": "o*"}, "x", ""},
		{map[string]string{"yes": "true"}, "{one}-{two}", "a-b--c"},
		{map[string]string{"yes": "true"}, "{one}--{three}", "a--c-"},
		{map[string]string{"yes": "true"}, "{two}-{one}", ""},    // or it would be that of b and -c-a
		{map[string]string{"yes": "true"}, "{three}--{one}", ""}, // or of c and -a
		{map[string]string{"yes": "true"}, "{two}_{three}_{one}", "b--c_c-_a"},
	} {
		l, err := ParseLabel(test.claims, test.label)
		if err != nil {
			t.Errorf("%v %s: %v", test.claims, test.label, err)
			continue
		}
		if got, refused := labelOf([]Label{l}, claims); got != test.want || (refused == nil) != (test.want != "") {
			t.Errorf("%v %s: %q, %v, want %q", test.claims, test.label, got, refused, test.want)
		}
	}
	for _, test := range []struct {
		claims map[string]string
		label  string
	}{
		{nil, "x"},
		{map[string]string{"sub": "*"}, "x"},
		{map[string]string{"sub": "**"}, "x"},
		{map[string]string{"sub": ""}, "x"},
		{map[string]string{"sub": "a"}, ""},
		{map[string]string{"sub": "a"}, "a:b"},
		{map[string]string{"sub": "a"}, "a b"},
		{map[string]string{"sub": "a"}, "a{"},
		{map[string]string{"sub": "a"}, "a}"},
		{map[string]string{"sub": "a"}, "{}"},
		{map[string]string{"sub": "a"}, "{a{b}}"},
		{map[string]string{"sub": "a"}, "x{a}{b}"},
		{map[string]string{"sub": "a"}, strings.Repeat("x", 129)},
	} {
		if _, err := ParseLabel(test.claims, test.label); err == nil {
			t.Errorf("%v %q is a label", test.claims, test.label)
		}
	}
}
