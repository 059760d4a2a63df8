package chatgpttest

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

const accounts = "https://auth.openai.com/api/accounts"

// registrationBody is what Codex of the given generation registers a key with.
func registrationBody(pub ed25519.PublicKey, g Generation) string {
	blob := append([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"), pub...)
	rest := `"capabilities":[]`
	if g == SecondGeneration {
		rest = `"capabilities":["responsesapi"],"ttl":null`
	}
	return `{"abom":{"agent_version":"1","agent_harness_id":"codex-cli","running_location":"cli-linux"},` +
		`"agent_public_key":"ssh-ed25519 ` + base64.StdEncoding.EncodeToString(blob) + `",` + rest + `}`
}

// TestSecondGeneration registers an agent and tasks as Codex 0.142 and later do.
func TestSecondGeneration(t *testing.T) {
	for _, base := range []string{accounts, "https://auth.api.openai.org/api/accounts"} {
		t.Run(base, func(t *testing.T) {
			s := newTestServer(t, Config{})
			bearer := []string{"Authorization", "Bearer " + s.Login(Account{}).AccessToken}
			pub, key, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			agentURL, body := base+"/v1/agent/register", registrationBody(pub, SecondGeneration)
			resp := do(t, s, "POST", agentURL, []byte(body), bearer...)
			var agent struct {
				ID string `json:"agent_runtime_id"`
			}
			if err := json.Unmarshal(resp.body, &agent); err != nil || agent.ID == "" || lastRequest(t, s).Auth.Scheme != SchemeBearer {
				t.Fatalf("%d %s", resp.StatusCode, resp.body)
			}
			taskURL := base + "/v1/agent/" + agent.ID + "/task/register"
			register := func(header ...string) answer {
				return do(t, s, "POST", taskURL, taskBody(key, agent.ID, time.Now()), header...)
			}
			var task struct {
				ID string `json:"task_id"`
			}
			if err := json.Unmarshal(register().body, &task); err != nil || task.ID == "" {
				t.Fatalf("task: %v", err)
			}
			if a := lastRequest(t, s).Auth; a.Scheme != SchemeSignature || !a.OK {
				t.Errorf("recorded %+v", a)
			}
			for form, name := range map[TaskAnswer]string{
				TaskAnswerSealed: "encrypted_task_id", TaskAnswerSealedCamel: "encryptedTaskId",
				TaskAnswerPlain: "task_id", TaskAnswerPlainCamel: "taskId",
			} {
				s.SetTaskAnswer(form)
				if body := register().body; !strings.HasPrefix(string(body), `{"`+name+`":"`) {
					t.Errorf("form %d: %s", form, body)
				}
			}
			if got, want := s.Stats(), (Stats{AgentRegistrations: 1, TaskRegistrations: 5}); got != want {
				t.Errorf("%+v, want %+v", got, want)
			}

			// Its assertions need the account beside them.
			signed := []string{"Authorization", assertion(key, agent.ID, task.ID, time.Now())}
			if resp := do(t, s, "GET", echoURL, nil, append(signed, "ChatGPT-Account-ID", "account-123")...); resp.StatusCode != 200 {
				t.Errorf("with the account: %d %s", resp.StatusCode, resp.body)
			}
			if resp := do(t, s, "GET", echoURL, nil, signed...); resp.StatusCode != 401 || resp.code(t) != "account_required" {
				t.Errorf("without the account: %d %s", resp.StatusCode, resp.body)
			}

			if got := s.Unwanted(); len(got) != 0 {
				t.Errorf("unwanted: %q", got)
			}
			register(bearer...)
			if got := s.Unwanted(); len(got) != 1 || !strings.Contains(got[0], "/task/register: Authorization where") {
				t.Errorf("a task with a token: %q", got)
			}
			for _, tt := range []struct {
				name, body string
				header     []string
				status     int
				reason     string
			}{
				{"nothing", body, nil, 401, "no Authorization"},
				{"an assertion", body, append(signed, "ChatGPT-Account-ID", "account-123"), 401, "an agent may not"},
				{"a biscuit too", body, append(bearer, "X-OpenAI-Authorization", "b"), 400, "biscuit"},
				{"the first generation's body", registrationBody(pub, FirstGeneration), bearer, 400, "capabilities"},
				{"no ttl", strings.Replace(body, `,"ttl":null`, "", 1), bearer, 400, "ttl"},
				{"a ttl", strings.Replace(body, `:null`, ":60", 1), bearer, 400, "ttl"},
				{"an unknown key", strings.Replace(body, `{`, `{"x":1,`, 1), bearer, 400, "unknown field"},
				{"FedRAMP, but is not", body, append(bearer, "X-OpenAI-Fedramp", "true"), 401, "not a FedRAMP"},
			} {
				resp := do(t, s, "POST", agentURL, []byte(tt.body), tt.header...)
				if resp.StatusCode != tt.status || !strings.Contains(string(resp.body), tt.reason) {
					t.Errorf("%s: %d %s", tt.name, resp.StatusCode, resp.body)
				}
			}
			gov := []string{"Authorization", "Bearer " + s.Login(Account{WorkspaceID: "gov", FedRAMP: true}).AccessToken}
			if resp := do(t, s, "POST", agentURL, []byte(body), gov...); resp.StatusCode != 401 || resp.code(t) != "fedramp_required" {
				t.Errorf("FedRAMP not said: %d %s", resp.StatusCode, resp.body)
			}
			if resp := do(t, s, "POST", agentURL, []byte(body), append(gov, "X-OpenAI-Fedramp", "true")...); resp.StatusCode != 200 {
				t.Errorf("FedRAMP: %d %s", resp.StatusCode, resp.body)
			}
		})
	}
}

// TestMissing takes the endpoints of one generation away, and gives them back.
func TestMissing(t *testing.T) {
	s := newTestServer(t, Config{})
	key := addTestAgent(t, s, Account{}, "a", "t")
	s.SetGeneration("a", SecondGeneration) // gets its tasks at either place, without a biscuit
	ask := func(g Generation) []int {
		base := backend
		if g == SecondGeneration {
			base = accounts
		}
		var got []int
		for _, path := range []string{"/v1/agent/register", "/v1/agent/a/task/register"} {
			got = append(got, do(t, s, "POST", base+path, taskBody(key, "a", time.Now())).StatusCode)
		}
		return got
	}
	here := []int{401, 200}
	for _, gone := range []int{404, 405, 410} {
		for _, g := range []Generation{FirstGeneration, SecondGeneration} {
			s.SetMissing(g, gone)
			for _, asked := range []Generation{FirstGeneration, SecondGeneration} {
				want := here
				if asked == g {
					want = []int{gone, gone}
				}
				if got := ask(asked); fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("without %s: %s answers %v, want %v", g, asked, got, want)
				}
			}
			s.SetMissing(g, 0)
		}
	}
	s.SetMissing(FirstGeneration, 404)
	if resp := do(t, s, "GET", backend+"/authenticate_app_v2", nil); resp.StatusCode != 404 {
		t.Errorf("the biscuit's endpoint: %d", resp.StatusCode)
	}
}

// TestRetries has registrations answered 429 and 503 before they are served.
func TestRetries(t *testing.T) {
	s := newTestServer(t, Config{})
	key := addTestAgent(t, s, Account{}, "a")
	s.Inject(Fault{Path: "/api/accounts/v1/agent/*", Status: 429, Times: 1})
	s.Inject(Fault{Path: "/api/accounts/v1/agent/*", Status: 503, Times: 1})
	for _, want := range []int{429, 503, 200} {
		if resp := do(t, s, "POST", accounts+"/v1/agent/a/task/register", taskBody(key, "a", time.Now())); resp.StatusCode != want {
			t.Errorf("%d, want %d", resp.StatusCode, want)
		}
	}
}

// TestInferenceOnly has assertions taken for inference alone.
func TestInferenceOnly(t *testing.T) {
	s := newTestServer(t, Config{})
	key := addTestAgent(t, s, Account{}, "a", "t")
	bearer := "Bearer " + s.Login(Account{}).AccessToken
	ask := func(path, credential string) int {
		return do(t, s, "POST", backend+path, []byte(`{"model":"m","input":[]}`), "Authorization", credential).StatusCode
	}
	for _, on := range []bool{true, false} {
		s.SetInferenceOnly(on)
		signed := assertion(key, "a", "t", time.Now())
		if got := ask("/codex/responses", signed); got != 200 {
			t.Errorf("%t: an assertion for inference: %d", on, got)
		}
		if got := ask("/codex/analytics-events/events", signed); got != map[bool]int{true: 401, false: 200}[on] {
			t.Errorf("%t: an assertion for analytics: %d", on, got)
		}
		if got := ask("/codex/analytics-events/events", bearer); got != 200 {
			t.Errorf("%t: a token for analytics: %d", on, got)
		}
	}
}

// TestShapes has the generation that a shape in auth.json stands for.
func TestShapes(t *testing.T) {
	s := newTestServer(t, Config{})
	l := s.Login(Account{})
	for shape, want := range map[string][2]int{"A": {200, 400}, "B": {200, 200}, "C": {200, 200}, "N": {401, 200}} {
		l.AuthJSONWithIdentity(shape)
		id := l.Identity()
		signed := []string{"Authorization", assertion(pkcs8(t, id.PrivateKeyPKCS8), id.RuntimeID, id.TaskID, time.Now())}
		got := [2]int{
			do(t, s, "GET", echoURL, nil, signed...).StatusCode,
			do(t, s, "GET", echoURL, nil, append(signed, "ChatGPT-Account-ID", "account-123")...).StatusCode,
		}
		if got != want {
			t.Errorf("shape %s: %v without and with the account, want %v", shape, got, want)
		}
	}
}

// TestServices has every host answer what is its own and nothing else.
func TestServices(t *testing.T) {
	s := newTestServer(t, Config{})
	for _, tt := range []struct {
		url  string
		want int
	}{
		{"https://chatgpt.com/backend-api/codex/models", 401},
		{"https://gov.chatgpt.com/backend-api/codex/models", 401},
		{"https://chatgpt-staging.com/codex/models", 401},
		{"https://auth.openai.com/backend-api/codex/models", 404},
		{"https://ab.chatgpt.com/backend-api/codex/models", 404},
		{"https://auth.openai.com/api/accounts/v1/agent/register", 405},
		{"https://chatgpt.com/api/accounts/v1/agent/register", 404},
		{"https://auth.openai.com/oauth/token", 405},
		{"https://chatgpt.com/oauth/token", 404},
		{s.URL() + "/backend-api/codex/models", 401},
		{s.URL() + "/oauth/token", 405},
	} {
		if resp := do(t, s, "GET", tt.url, nil); resp.StatusCode != tt.want {
			t.Errorf("%s: %d, want %d", tt.url, resp.StatusCode, tt.want)
		}
	}
}

// TestUnwanted notes credentials where Codex sends none, and answers.
func TestUnwanted(t *testing.T) {
	s := newTestServer(t, Config{})
	for _, path := range []string{"/plugins/export/curated", "/wham/agent-identities/jwks"} {
		for _, name := range []string{"", "Authorization", "ChatGPT-Account-ID", "X-OpenAI-Fedramp", "Cookie"} {
			before := len(s.Unwanted())
			var header []string
			if name != "" {
				header = []string{name, "secret"}
			}
			resp := do(t, s, "GET", backend+path, nil, header...)
			noted := s.Unwanted()[before:]
			if resp.StatusCode != 200 || len(noted) != min(1, len(header)) || strings.Contains(fmt.Sprint(noted), "secret") {
				t.Errorf("%s with %q: %d, noted %q", path, name, resp.StatusCode, noted)
			}
		}
	}
}
