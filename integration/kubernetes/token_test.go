// Package kubernetes has Kubernetes' own code make the tokens of pods, and the documents
// by which they are checked, for what takes them. It is a module of its own, since none of
// that is part of agentproxy.
package kubernetes

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/serviceaccount"

	"github.com/agentproxy/agentproxy/proxy/access/workload"
)

// apiServer makes tokens, and shows its keys, as kube-apiserver does.
type apiServer struct {
	*httptest.Server
	public    []any // the keys that it shows
	documents atomic.Pointer[serviceaccount.OpenIDMetadataProvider]
}

func newAPIServer(t *testing.T) *apiServer {
	t.Helper()
	a := new(apiServer)
	a.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		documents := *a.documents.Load()
		switch r.URL.Path {
		case serviceaccount.OpenIDConfigPath:
			raw, _ := documents.GetConfigJSON()
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(raw)
		case serviceaccount.JWKSPath:
			raw, _ := documents.GetKeysetJSON()
			w.Header().Set("Content-Type", "application/jwk-set+json")
			_, _ = w.Write(raw)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

// show has the server show the public key of key.
func (a *apiServer) show(t *testing.T, key crypto.Signer) {
	t.Helper()
	a.public = append(a.public, key.Public())
	keys, err := serviceaccount.StaticPublicKeysGetter(a.public)
	if err != nil {
		t.Fatal(err)
	}
	documents, err := serviceaccount.NewOpenIDMetadataProvider(a.URL, "", a.Listener.Addr().String(), keys)
	if err != nil {
		t.Fatal(err)
	}
	a.documents.Store(&documents)
}

// token returns a token of the service account builder in the namespace ci, as the
// TokenRequest API makes it for a pod.
func (a *apiServer) token(t *testing.T, key crypto.Signer, pod string, seconds int64, audience ...string) string {
	t.Helper()
	object := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "ci", Name: name, UID: "9a4be8ac-6a5c-49a6-8a7d-3d3d6c1a2f10"}
	}
	claims, private, err := serviceaccount.Claims(core.ServiceAccount{ObjectMeta: object("builder")},
		&core.Pod{ObjectMeta: object(pod)}, nil, &core.Node{ObjectMeta: object("node-1")}, nil, nil, seconds, 0, audience, nil)
	if err != nil {
		t.Fatal(err)
	}
	generator, err := serviceaccount.JWTTokenGenerator(a.URL, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := generator.GenerateToken(context.Background(), claims, private)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func newKey[K crypto.Signer](t *testing.T, generate func() (K, error)) crypto.Signer {
	t.Helper()
	key, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// TestPodTokens: a pod's token stands for its label, whatever key of the API server has signed
// it, and also after the API server has got a new key. One of another cluster, for another
// audience, of another pod or past its time does not.
func TestPodTokens(t *testing.T) {
	t.Parallel()
	server, other := newAPIServer(t), newAPIServer(t) // of the latter only the URL counts
	rsaKey := newKey(t, func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	ecKey := newKey(t, func() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) })
	foreign := newKey(t, func() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P384(), rand.Reader) })
	server.show(t, rsaKey)

	label, err := workload.ParseLabel(map[string]string{"sub": "system:serviceaccount:ci:builder", "kubernetes.io/pod/name": "build-*"}, "{kubernetes.io/pod/name}")
	if err != nil {
		t.Fatal(err)
	}
	start, ahead := time.Now(), time.Duration(0)
	checker := workload.New([]workload.Issuer{{URL: server.URL, Audience: "agentproxy", Labels: []workload.Label{label}, Transport: server.Client().Transport}},
		workload.NewUsed(), func() time.Time { return start.Add(ahead) })
	for _, test := range []struct {
		name   string
		token  string
		ahead  time.Duration
		rotate crypto.Signer // shown before
		reason workload.Reason
	}{
		{name: "an RSA key", token: server.token(t, rsaKey, "build-1", 3607, "agentproxy")},
		{name: "several audiences", token: server.token(t, rsaKey, "build-1", 3607, "https://kubernetes.default.svc", "agentproxy")},
		{name: "another audience", token: server.token(t, rsaKey, "build-1", 3607, "https://kubernetes.default.svc"), reason: workload.BadClaims},
		{name: "another pod", token: server.token(t, rsaKey, "web-1", 3607, "agentproxy"), reason: workload.NoLabel},
		{name: "another cluster", token: other.token(t, rsaKey, "build-1", 3607, "agentproxy"), reason: workload.ForeignIssuer},
		{name: "a key that is none of the server's", token: server.token(t, foreign, "build-1", 3607, "agentproxy"), ahead: time.Minute, reason: workload.BadSignature},
		{name: "a new key", token: server.token(t, ecKey, "build-1", 3607, "agentproxy"), ahead: 2 * time.Minute, rotate: ecKey},
		{name: "the key before", token: server.token(t, rsaKey, "build-1", 3607, "agentproxy"), ahead: 2 * time.Minute},
		{name: "past its time", token: server.token(t, rsaKey, "build-1", 600, "agentproxy"), ahead: 12 * time.Minute, reason: workload.Expired},
	} {
		ahead = test.ahead
		if test.rotate != nil {
			server.show(t, test.rotate)
		}
		id, err := checker.Check(t.Context(), test.token)
		if test.reason == "" {
			if err != nil || id.Label != "build-1" || id.Subject != "system:serviceaccount:ci:builder" {
				t.Errorf("%s: %+v, %v", test.name, id, err)
			}
			continue
		}
		if refused, ok := errors.AsType[*workload.Error](err); !ok || refused.Code != test.reason {
			t.Errorf("%s: %+v, %v, want %s", test.name, id, err, test.reason)
		}
	}
}
