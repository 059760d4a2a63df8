package agent_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// The paths of the two generations, as faults name them.
const (
	accountsAPI = "/api/accounts/*"
	backendAPI  = "/backend-api/v1/agent/*"
	biscuitAPI  = "/backend-api/authenticate_app_v2"
)

func auto(c *agent.Config) { c.Protocol = identity.ProtocolAuto }

// gone has the backend know nothing of paths until stop is called.
func (r *rig) gone(status int, paths ...string) (stop func()) {
	var stops []func()
	for _, path := range paths {
		stops = append(stops, r.server.Inject(chatgpttest.Fault{Path: path, Status: status, Body: "{}"}))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// requests returns those whose path ends in a suffix.
func (r *rig) requests(suffix string) (found []chatgpttest.Request) {
	for _, request := range r.server.Requests() {
		if strings.HasSuffix(request.Path, suffix) {
			found = append(found, request)
		}
	}
	return found
}

func TestAccountsProtocol(t *testing.T) {
	for _, fedRAMP := range []bool{false, true} {
		r := newRig(t)
		l := r.login(chatgpttest.Account{FedRAMP: fedRAMP})
		a := r.agent(auto)
		if a.AssertsAll(t.Context()) {
			t.Error("all is asserted before there is an identity")
		}
		s := r.session(a, "")
		if got := r.accepts(s); got != 200 || s.Identity.Protocol != identity.ProtocolAccounts || a.AssertsAll(t.Context()) {
			t.Errorf("the backend answered %d to an identity of %q", got, s.Identity.Protocol)
		}
		r.stats(chatgpttest.Stats{AgentRegistrations: 1, TaskRegistrations: 1})

		agent, task := r.requests("/agent/register")[0], r.requests("/task/register")[0]
		if agent.Host != "auth.openai.com" || agent.Path != "/api/accounts/v1/agent/register" ||
			agent.Header.Get("Authorization") != "Bearer "+l.AccessToken || agent.Header["X-Openai-Authorization"] != nil {
			t.Errorf("registered at %s%s with %v", agent.Host, agent.Path, agent.Header)
		}
		want := fmt.Sprintf(`{"abom":{"agent_version":"1.0","agent_harness_id":"codex-cli","running_location":"cli-%s"},"agent_public_key":%q,"capabilities":["responsesapi"],"ttl":null}`,
			runtime.GOOS, s.Identity.Key.PublicKey())
		if string(agent.Body) != want {
			t.Errorf("registered with %s, want %s", agent.Body, want)
		}
		if got := agent.Header.Get("X-Openai-Fedramp"); (got == "true") != fedRAMP {
			t.Errorf("X-OpenAI-Fedramp %q for FedRAMP %v", got, fedRAMP)
		}
		if task.Host != "auth.openai.com" || task.Path != "/api/accounts/v1/agent/"+s.Task.AgentRuntimeID+"/task/register" ||
			task.Header["Authorization"] != nil || task.Header["X-Openai-Authorization"] != nil {
			t.Errorf("registered the task at %s%s with %v", task.Host, task.Path, task.Header)
		}
		for _, request := range r.server.Requests()[:2] {
			if request.Header.Get("Originator") != "codex_cli_rs" ||
				!strings.HasPrefix(request.Header.Get("User-Agent"), "codex_cli_rs/"+backend.CodexVersion+" (") ||
				!strings.HasSuffix(request.Header.Get("User-Agent"), " agentproxy/1.0") {
				t.Errorf("%s says of itself %v", request.Path, request.Header)
			}
		}
		if record := r.record(); record.Protocol != identity.ProtocolAccounts {
			t.Errorf("the record is of %q", record.Protocol)
		}
		if again := r.session(r.agent(auto), ""); again.Task != s.Task || again.Identity.Protocol != identity.ProtocolAccounts {
			t.Errorf("after a restart: %+v", again)
		}
		r.stats(chatgpttest.Stats{AgentRegistrations: 1, TaskRegistrations: 1})
	}
}

// TestTokenIsRefusedByAccounts renews it for the registration.
func TestTokenIsRefusedByAccounts(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	r.server.ForgetAccessTokens()
	r.session(r.agent(auto), "")
	r.stats(chatgpttest.Stats{AgentRegistrations: 1, TaskRegistrations: 1, Refreshes: 1})
}

// TestProtocolsComeAndGo takes the endpoints of one generation away, then those of
// the other, and back: one agent serves all the time.
func TestProtocolsComeAndGo(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r := newRig(t)
			r.login(chatgpttest.Account{})
			a := r.agent(auto)
			stop := r.gone(status, accountsAPI)
			first := r.session(a, "")
			labels := 0 // each has a task of its own
			serves := func(agents ...*agent.Agent) {
				t.Helper()
				for _, a := range agents {
					labels++
					s := r.session(a, fmt.Sprint("label-", labels))
					if s.Identity.AgentRuntimeID != first.Identity.AgentRuntimeID || r.accepts(s) != 200 {
						t.Errorf("agent %q, want %q", s.Identity.AgentRuntimeID, first.Identity.AgentRuntimeID)
					}
					if s.Identity.Protocol != identity.ProtocolBackend || !a.AssertsAll(t.Context()) {
						t.Errorf("it is of %q", s.Identity.Protocol)
					}
				}
			}
			// asked is how often the accounts service was, and the backend.
			asked := func(accounts, backend int) {
				t.Helper()
				if a, b := r.server.Count(accountsAPI), r.server.Count(backendAPI); a != accounts || b != backend {
					t.Errorf("the accounts service was asked %d times, the backend %d times; want %d and %d", a, b, accounts, backend)
				}
				r.server.ResetRequests()
			}
			asked(1, 2)
			serves(a, r.agent(auto))
			asked(0, 2)
			stop()
			serves(a, r.agent(auto)) // what answers is kept to
			asked(0, 2)

			stop = r.gone(status, backendAPI, biscuitAPI)
			serves(a, r.agent(auto))
			asked(2, 0) // for want of biscuits
			serves(a)
			asked(1, 0)
			stop()
			defer r.gone(status, accountsAPI)()
			serves(a, r.agent(auto))
			asked(1, 2)
			if record := r.record(); record.Protocol != identity.ProtocolBackend {
				t.Errorf("the record is of %q", record.Protocol)
			}
			if n := r.server.Stats().AgentRegistrations; n != 1 || len(r.aside()) != 0 {
				t.Errorf("%d registrations, set aside: %q", n, r.aside())
			}
		})
	}
}

// TestMissingEndpointsSpoilNothing has no endpoint of either generation answer for
// a while, or none for tasks.
func TestMissingEndpointsSpoilNothing(t *testing.T) {
	for name, paths := range map[string][]string{
		"all":                 {accountsAPI, backendAPI, biscuitAPI},
		"tasks":               {"*/task/register"},
		"tasks, and biscuits": {"*/task/register", biscuitAPI},
	} {
		for _, protocol := range []identity.Protocol{identity.ProtocolAuto, identity.ProtocolAccounts, identity.ProtocolBackend} {
			t.Run(name+" "+string(protocol), func(t *testing.T) {
				r := newRig(t)
				r.login(chatgpttest.Account{})
				a := r.agent(func(c *agent.Config) { c.Protocol = protocol })
				first := r.session(a, "")
				stop := r.gone(404, paths...)
				for i := range 10 {
					_, err := a.Session(t.Context(), fmt.Sprint("label-", i))
					r.fails(err, identity.ErrNoTask, "404")
					r.advance(30e9)
				}
				stop()
				r.advance(30e9)
				if s := r.session(a, "label"); s.Identity.AgentRuntimeID != first.Identity.AgentRuntimeID || r.accepts(s) != 200 {
					t.Errorf("it signs as %q, was %q", s.Identity.AgentRuntimeID, first.Identity.AgentRuntimeID)
				}
				if len(r.aside()) != 0 {
					t.Errorf("set aside: %q", r.aside())
				}
			})
		}
	}
}

// TestForgottenAccountsAgent replaces an agent that the accounts service does not
// know any more.
func TestForgottenAccountsAgent(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent(auto)
	old := r.session(a, "")
	r.server.ForgetAgents()
	if !a.TaskRejected("", old.Task) {
		t.Error("not told to try again")
	}
	s := r.session(a, "")
	if s.Identity.AgentRuntimeID == old.Identity.AgentRuntimeID || s.Identity.Protocol != identity.ProtocolAccounts || r.accepts(s) != 200 {
		t.Errorf("it signs as %q of %q", s.Identity.AgentRuntimeID, s.Identity.Protocol)
	}
	if got := r.server.Stats(); got.AgentRegistrations != 2 || got.TaskRegistrations != 2 || len(r.aside()) != 1 {
		t.Errorf("counted %+v, set aside %q", got, r.aside())
	}
}

// TestGenerationOfCodexsIdentity registers tasks where the version of Codex does
// that wrote the record.
func TestGenerationOfCodexsIdentity(t *testing.T) {
	for _, test := range []struct {
		shape string
		want  identity.Protocol
	}{
		{"A", identity.ProtocolBackend}, {"B", identity.ProtocolAccounts},
		{"C", identity.ProtocolBackend}, {"N", identity.ProtocolAccounts},
	} {
		t.Run(test.shape, func(t *testing.T) {
			r := newRig(t)
			l := r.server.Login(chatgpttest.Account{})
			r.write(l.AuthJSONWithIdentity(test.shape))
			s := r.session(r.agent(auto, func(c *agent.Config) { c.Store = nil }), "label")
			if s.Identity.AgentRuntimeID != l.Identity().RuntimeID || s.Identity.Protocol != test.want || r.accepts(s) != 200 {
				t.Errorf("signs as %q of %q", s.Identity.AgentRuntimeID, s.Identity.Protocol)
			}
			tasks := r.requests("/task/register")
			if len(tasks) != 1 || strings.HasPrefix(tasks[0].Path, "/api/accounts/") != (test.want == identity.ProtocolAccounts) {
				t.Errorf("tasks were registered at %+v", tasks)
			}
		})
	}
}

// TestAssertsAll tells which log-ins have tokens for what is not inference.
func TestAssertsAll(t *testing.T) {
	r := newRig(t)
	l := r.server.Login(chatgpttest.Account{})
	placeholder, err := codex.Placeholder(identity.Account{WorkspaceID: "account-123"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		auth []byte
		want bool
	}{
		"a placeholder":              {placeholder, true},
		"tokens":                     {l.AuthJSON(), false},
		"tokens and a JWT":           {l.AuthJSONWithIdentity("B"), false},
		"tokens and Codex 0.123's":   {l.AuthJSONWithIdentity("A"), true},
		"a JWT alone":                {l.AgentAuthJSON("B"), true},
		"a record alone":             {l.AgentAuthJSON("C"), true},
		"nothing that can be parsed": {[]byte("{"), true},
	} {
		r.write(test.auth)
		if got := r.agent(auto).AssertsAll(t.Context()); got != test.want {
			t.Errorf("%s: AssertsAll = %v, want %v", name, got, test.want)
		}
	}
	if err := os.Remove(filepath.Join(r.home, "auth.json")); err != nil {
		t.Fatal(err)
	}
	if !r.agent(auto).AssertsAll(t.Context()) {
		t.Error("without a log-in there is no token")
	}
}
