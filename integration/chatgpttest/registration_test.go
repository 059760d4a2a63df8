package chatgpttest

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math/big"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/nacl/box"
)

const backend = "https://chatgpt.com/backend-api"

func biscuitHeader(bearer, originalURL string) []string {
	return []string{
		"Authorization", bearer,
		"X-Request-Id", "codex-agent-identity-" + base64.RawURLEncoding.EncodeToString(make([]byte, 16)),
		"X-Original-Method", "POST",
		"X-Original-Url", originalURL,
	}
}

func getBiscuit(t *testing.T, s *Server, bearer, originalURL string) string {
	t.Helper()
	resp := do(t, s, "GET", backend+"/authenticate_app_v2", nil, biscuitHeader(bearer, originalURL)...)
	if resp.StatusCode != 200 {
		t.Fatalf("biscuit: %d %s", resp.StatusCode, resp.body)
	}
	return resp.Header.Get("X-OpenAI-Authorization")
}

func taskBody(key ed25519.PrivateKey, runtimeID string, at time.Time) []byte {
	ts := at.UTC().Format("2006-01-02T15:04:05Z")
	sig := ed25519.Sign(key, []byte(runtimeID+":"+ts))
	return encodeJSON(map[string]string{"signature": base64.StdEncoding.EncodeToString(sig), "timestamp": ts})
}

// openSealed opens a sealed box with the key that belongs to an Ed25519 seed.
func openSealed(t *testing.T, key ed25519.PrivateKey, sealed string) (string, bool) {
	t.Helper()
	h := crypto.SHA512.New()
	h.Write(key.Seed())
	secret := [32]byte(h.Sum(nil)) // box clamps it
	pub, err := curve25519.X25519(secret[:], curve25519.Basepoint)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.StdEncoding.DecodeString(sealed)
	if err != nil {
		t.Fatal(err)
	}
	out, ok := box.OpenAnonymous(nil, raw, (*[32]byte)(pub), &secret)
	return string(out), ok
}

func TestX25519PublicKey(t *testing.T) {
	for _, k := range vectors(t) {
		got, err := x25519PublicKey(pkcs8(t, k.PKCS8V1).Public().(ed25519.PublicKey))
		if err != nil || hex.EncodeToString(got[:]) != k.X25519Public {
			t.Errorf("%x, %v, want %s", got, err, k.X25519Public)
		}
	}
	identity := make([]byte, 32)
	identity[0] = 1 // y = 1 has no inverse
	if _, err := x25519PublicKey(identity); err == nil {
		t.Error("the neutral point was taken for a key")
	}
}

func TestRegistration(t *testing.T) {
	s := newTestServer(t, Config{})
	bearer := "Bearer " + s.Login(Account{}).AccessToken
	pub, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	blob := append([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"), pub...)
	agentURL := backend + "/v1/agent/register"
	reg := []byte(`{"abom":{"agent_version":"1","agent_harness_id":"codex-cli","running_location":"cli-linux"},` +
		`"agent_public_key":"ssh-ed25519 ` + base64.StdEncoding.EncodeToString(blob) + `","capabilities":[]}`)

	resp := do(t, s, "POST", agentURL, reg, "X-OpenAI-Authorization", getBiscuit(t, s, bearer, agentURL))
	var agent struct {
		ID string `json:"agent_runtime_id"`
	}
	if err := json.Unmarshal(resp.body, &agent); err != nil || agent.ID == "" {
		t.Fatalf("%d %s", resp.StatusCode, resp.body)
	}

	taskURL := backend + "/v1/agent/" + agent.ID + "/task/register"
	biscuit := getBiscuit(t, s, bearer, taskURL)
	register := func(body []byte) answer {
		return do(t, s, "POST", taskURL, body, "X-OpenAI-Authorization", biscuit)
	}
	clearFault := s.Inject(Fault{Path: "*/task/register", BadSealedTask: true})
	var task struct {
		Sealed string `json:"encrypted_task_id"`
	}
	json.Unmarshal(register(taskBody(key, agent.ID, time.Now())).body, &task)
	if id, ok := openSealed(t, key, task.Sealed); ok {
		t.Errorf("a bad sealed task opened: %q", id)
	}
	clearFault()
	json.Unmarshal(register(taskBody(key, agent.ID, time.Now())).body, &task)
	id, ok := openSealed(t, key, task.Sealed)
	if !ok {
		t.Fatalf("the sealed task id %q does not open", task.Sealed)
	}
	if resp := do(t, s, "GET", echoURL, nil, "Authorization", assertion(key, agent.ID, id, time.Now())); resp.StatusCode != 200 {
		t.Errorf("with the registered task: %d %s", resp.StatusCode, resp.body)
	}
	for form, name := range map[TaskAnswer]string{
		TaskAnswerSealed: "encrypted_task_id", TaskAnswerSealedCamel: "encryptedTaskId",
		TaskAnswerPlain: "task_id", TaskAnswerPlainCamel: "taskId",
	} {
		s.SetTaskAnswer(form)
		if body := register(taskBody(key, agent.ID, time.Now())).body; !strings.HasPrefix(string(body), `{"`+name+`":"`) {
			t.Errorf("form %d: %s", form, body)
		}
	}
	if got, want := s.Stats(), (Stats{Biscuits: 2, AgentRegistrations: 1, TaskRegistrations: 6}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}

	refused := []struct {
		name   string
		resp   answer
		status int
		reason string
	}{
		{"agent with the second generation's capabilities", do(t, s, "POST", agentURL, []byte(strings.Replace(string(reg), `[]`, `["responsesapi"]`, 1)), "X-OpenAI-Authorization", getBiscuit(t, s, bearer, agentURL)), 400, "capabilities"},
		{"agent with a ttl", do(t, s, "POST", agentURL, []byte(strings.Replace(string(reg), `[]`, `[],"ttl":null`, 1)), "X-OpenAI-Authorization", getBiscuit(t, s, bearer, agentURL)), 400, "ttl"},
		{"agent with a token only", do(t, s, "POST", agentURL, reg, "Authorization", bearer), 401, "0 X-OpenAI-Authorization"},
		{"agent without biscuit", do(t, s, "POST", agentURL, reg), 401, "0 X-OpenAI-Authorization"},
		{"agent with the task's biscuit", do(t, s, "POST", agentURL, reg, "X-OpenAI-Authorization", biscuit), 401, "biscuit is for"},
		{"agent with a comment", do(t, s, "POST", agentURL, []byte(strings.Replace(string(reg), `","cap`, ` me","cap`, 1)), "X-OpenAI-Authorization", getBiscuit(t, s, bearer, agentURL)), 400, "OpenSSH"},
		{"task without biscuit", do(t, s, "POST", taskURL, taskBody(key, agent.ID, time.Now())), 401, "0 X-OpenAI-Authorization"},
		{"task of another agent", register(taskBody(key, "agent-x", time.Now())), 401, "not by the key"},
		{"task an hour ago", register(taskBody(key, agent.ID, time.Now().Add(-time.Hour))), 401, "away from"},
		{"biscuit for something else", do(t, s, "GET", backend+"/authenticate_app_v2", nil, biscuitHeader(bearer, backend+"/x")...), 400, "not a registration"},
		{"biscuit with a short id", do(t, s, "GET", backend+"/authenticate_app_v2", nil, "Authorization", bearer, "X-Request-Id", "codex-agent-identity-AAAA", "X-Original-Method", "POST", "X-Original-Url", agentURL), 400, "16 bytes"},
	}
	for _, tt := range refused {
		if tt.resp.StatusCode != tt.status || !strings.Contains(string(tt.resp.body), tt.reason) {
			t.Errorf("%s: %d %s", tt.name, tt.resp.StatusCode, tt.resp.body)
		}
	}
}

// TestTaskRegistrationVectors has the signatures of the vectors accepted, and
// refused for another agent.
func TestTaskRegistrationVectors(t *testing.T) {
	for _, k := range vectors(t) {
		pub := pkcs8(t, k.PKCS8V1).Public().(ed25519.PublicKey)
		for _, v := range k.TaskRegistrations {
			body := string(encodeJSON(map[string]string{"signature": v.Signature, "timestamp": v.Timestamp}))
			now := mustTime(t, v.Timestamp)
			if err := verifyTaskRegistration(httptest.NewRequest("POST", "/", strings.NewReader(body)), v.RuntimeID, pub, now); err != nil {
				t.Errorf("%s: %v", v.RuntimeID, err)
			}
			if err := verifyTaskRegistration(httptest.NewRequest("POST", "/", strings.NewReader(body)), "x", pub, now); err == nil {
				t.Errorf("%s: accepted for another agent", v.RuntimeID)
			}
		}
	}
}

func TestIdentityJWT(t *testing.T) {
	s := newTestServer(t, Config{})
	l := s.Login(Account{})
	id := s.RegisterIdentity(l)
	key := pkcs8(t, id.PrivateKeyPKCS8)
	token := s.IdentityJWT(id, func(c map[string]any) { c["extra"] = true })

	var keys struct {
		Keys []struct{ Kid, N, E string }
	}
	if err := json.Unmarshal(do(t, s, "GET", backend+"/wham/agent-identities/jwks", nil).body, &keys); err != nil || len(keys.Keys) != 1 {
		t.Fatalf("key set: %+v, %v", keys, err)
	}
	parts := strings.Split(token, ".")
	dec := func(v string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pub := &rsa.PublicKey{N: new(big.Int).SetBytes(dec(keys.Keys[0].N)), E: int(new(big.Int).SetBytes(dec(keys.Keys[0].E)).Int64())}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(pub, crypto.SHA256, sum[:], dec(parts[2])); err != nil {
		t.Error(err)
	}
	for _, want := range []string{`"iss":"https://chatgpt.com/codex-backend/agent-identity"`, `"aud":"codex-app-server"`, `"extra":true`, id.RuntimeID} {
		if !strings.Contains(string(dec(parts[1])), want) {
			t.Errorf("the claims %s lack %s", dec(parts[1]), want)
		}
	}
	for _, base := range []string{backend, "https://auth.openai.com/api/accounts"} {
		resp := do(t, s, "POST", base+"/v1/agent/"+id.RuntimeID+"/task/register", taskBody(key, id.RuntimeID, time.Now()))
		if resp.StatusCode != 200 || !strings.HasPrefix(string(resp.body), `{"task_id":"`) {
			t.Errorf("%s: a task without a biscuit: %d %s", base, resp.StatusCode, resp.body)
		}
		if a := lastRequest(t, s).Auth; a.Scheme != SchemeSignature || !a.OK {
			t.Errorf("%s: recorded %+v", base, a)
		}
	}
}
