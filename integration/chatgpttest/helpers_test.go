package chatgpttest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"
)

func newTestServer(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := NewServerWith(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// addTestAgent makes an agent known, which needs no RSA key and so is quick.
func addTestAgent(t *testing.T, s *Server, a Account, runtimeID string, tasks ...string) ed25519.PrivateKey {
	t.Helper()
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	s.AddAgent(a, runtimeID, pub, tasks...)
	return key
}

// assertion is written out here so that it shares nothing with the server.
func assertion(key ed25519.PrivateKey, runtimeID, taskID string, at time.Time) string {
	ts := at.UTC().Format("2006-01-02T15:04:05Z")
	sig := ed25519.Sign(key, []byte(runtimeID+":"+taskID+":"+ts))
	env := fmt.Sprintf(`{"agent_runtime_id":%q,"signature":%q,"task_id":%q,"timestamp":%q}`,
		runtimeID, base64.StdEncoding.EncodeToString(sig), taskID, ts)
	return "AgentAssertion " + base64.RawURLEncoding.EncodeToString([]byte(env))
}

func pkcs8(t *testing.T, b64 string) ed25519.PrivateKey {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(b64)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return key.(ed25519.PrivateKey)
}

type answer struct {
	*http.Response
	body []byte
}

func (a answer) code(t *testing.T) string {
	t.Helper()
	var v struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal(a.body, &v); err != nil {
		t.Fatalf("%d %q: %v", a.StatusCode, a.body, err)
	}
	if v.Error.Message == "" {
		t.Errorf("an error without a message: %s", a.body)
	}
	return v.Error.Code
}

func do(t *testing.T, s *Server, method, url string, body []byte, header ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, b}
}

func lastRequest(t *testing.T, s *Server) Request {
	t.Helper()
	all := s.Requests()
	if len(all) == 0 {
		t.Fatal("no request arrived")
	}
	return all[len(all)-1]
}

type vectorKey struct {
	PKCS8V1      string `json:"pkcs8_v1_base64"`
	PublicKeySSH string `json:"public_key_ssh"`
	X25519Secret string `json:"x25519_secret_hex"`
	X25519Public string `json:"x25519_public_hex"`
	Assertions   []struct {
		RuntimeID string `json:"agent_runtime_id"`
		TaskID    string `json:"task_id"`
		Timestamp string `json:"timestamp"`
		Header    string `json:"header"`
	} `json:"assertions"`
	TaskRegistrations []struct {
		RuntimeID string `json:"agent_runtime_id"`
		Timestamp string `json:"timestamp"`
		Signature string `json:"signature"`
	} `json:"task_registrations"`
}

func vectors(t *testing.T) []vectorKey {
	t.Helper()
	b, err := os.ReadFile("testdata/agent_identity.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct{ Keys []vectorKey }
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Keys) == 0 {
		t.Fatal("no vectors")
	}
	return v.Keys
}

func mustTime(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}
