package agent_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/identity/store"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

func newRequest(t testing.TB, path string) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, baseURL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return request
}

func TestRegistersOnce(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{FedRAMP: true})
	first := r.session(r.agent(), "")
	if got := r.accepts(first); got != 200 {
		t.Fatalf("the backend answered %d", got)
	}
	r.stats(chatgpttest.Stats{Biscuits: 2, AgentRegistrations: 1, TaskRegistrations: 1})
	record := r.record()
	if record.Shape != identity.ShapeC || record.UserID != "user-123" || record.WorkspaceID != "account-123" ||
		!record.FedRAMP || record.Email != "user@example.com" || record.PlanType != "pro" || record.RegisteredAt == "" {
		t.Errorf("stored: %+v", record)
	}
	for _, name := range []string{"identity.json", "tasks.json", "identity.lock", "tasks.lock"} {
		if info, err := os.Stat(filepath.Join(r.state, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if info, err := os.Stat(r.state); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("state directory: %v, %v", info, err)
	}

	again := r.session(r.agent(), "")
	if again.Task != first.Task || again.Identity.AgentRuntimeID != first.Identity.AgentRuntimeID {
		t.Errorf("after a restart: %+v, want %+v", again.Task, first.Task)
	}
	r.stats(chatgpttest.Stats{Biscuits: 2, AgentRegistrations: 1, TaskRegistrations: 1})
}

func TestOtherUsersIdentityIsSetAside(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	first := r.session(a, "")
	stored, err := os.ReadFile(r.identity())
	if err != nil {
		t.Fatal(err)
	}
	r.login(chatgpttest.Account{UserID: "user-2"})
	second := r.session(a, "")
	if second.Identity.AgentRuntimeID == first.Identity.AgentRuntimeID || second.Identity.Account.UserID != "user-2" {
		t.Errorf("the second user signs as %+v", second.Identity)
	}
	aside := r.aside()
	if len(aside) != 1 || !regexp.MustCompile(`identity\.json\.\d{8}T\d{6}\.\d{3}Z$`).MatchString(aside[0]) {
		t.Fatalf("set aside: %q", aside)
	}
	if raw, err := os.ReadFile(aside[0]); err != nil || string(raw) != string(stored) {
		t.Errorf("set aside: %v", err)
	}
	if r.told(aside[0]) != 1 {
		t.Errorf("told: %v", r.events)
	}
	r.stats(chatgpttest.Stats{Biscuits: 4, AgentRegistrations: 2, TaskRegistrations: 2})
}

func TestBadRecordsAreReplaced(t *testing.T) {
	for name, content := range map[string]string{
		"corrupt":    `{"agent_runtime_id":`,
		"empty":      "",
		"bad key":    `{"workspace_id":"account-123","chatgpt_user_id":"user-123","agent_runtime_id":"a","agent_private_key":"AAAA"}`,
		"bad JWT":    `"eyJh.eyJh.x"`,
		"no user":    `{"workspace_id":"account-123","agent_runtime_id":"a","agent_private_key":"AAAA"}`,
		"other user": `{"workspace_id":"account-123","chatgpt_user_id":"user-9","agent_runtime_id":"a","agent_private_key":"AAAA"}`,
		"too large":  strings.Repeat(" ", 2<<20) + "{}",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.login(chatgpttest.Account{})
			if err := os.Mkdir(r.state, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(r.identity(), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			s := r.session(r.agent(), "")
			if got := r.accepts(s); got != 200 {
				t.Errorf("the backend answered %d", got)
			}
			aside := r.aside()
			if len(aside) != 1 {
				t.Fatalf("set aside: %q", aside)
			}
			if raw, err := os.ReadFile(aside[0]); err != nil || string(raw) != content {
				t.Errorf("set aside: %v", err)
			}
		})
	}
}

// TestSetAsideKeepsAll sets several aside within the same moment.
func TestSetAsideKeepsAll(t *testing.T) {
	store := store.NewFile(filepath.Join(t.TempDir(), "identity.json"))
	at := time.Unix(1700000000, 0)
	for i := range 3 {
		if err := os.WriteFile(store.String(), []byte{byte('a' + i)}, 0o600); err != nil {
			t.Fatal(err)
		}
		place, err := store.SetAside(at)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(place); err != nil || raw[0] != byte('a'+i) {
			t.Errorf("%s: %q, %v", place, raw, err)
		}
	}
	if files, _ := filepath.Glob(store.String() + ".*"); len(files) != 3 {
		t.Errorf("kept: %q", files)
	}
	if err := store.Remove(); err != nil {
		t.Fatal(err)
	}
	if place, err := store.SetAside(at); place != "" || err != nil {
		t.Errorf("nothing there: %q, %v", place, err)
	}
}

func TestNothingIsRegistered(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(r *rig)
		edit    func(*agent.Config)
		target  error
		text    string
	}{
		{"no file", func(*rig) {}, nil, identity.ErrNoLogin, "run codex login"},
		{"API key", func(r *rig) { r.write([]byte(`{"OPENAI_API_KEY":"sk-1"}`)) }, nil, identity.ErrAPIKey, "run codex login"},
		{"broken", func(r *rig) { r.write([]byte(`{"tokens":`)) }, nil, nil, "ends in the middle"},
		{"placeholder", func(r *rig) {
			raw, err := codex.Placeholder(identity.Account{WorkspaceID: "account-123", UserID: "user-123"}, time.Now())
			if err != nil {
				panic(err)
			}
			r.write(raw)
		}, nil, identity.ErrPlaceholder, "real log-in"},
		{"registration off", func(r *rig) { r.login(chatgpttest.Account{}) },
			func(c *agent.Config) { c.Register = false }, identity.ErrNoIdentity, "auth.json"},
		{"no backend", func(r *rig) { r.login(chatgpttest.Account{}) },
			func(c *agent.Config) { c.Backend = nil }, identity.ErrNoIdentity, ""},
		{"registration off, no task", func(r *rig) {
			r.write(r.server.Login(chatgpttest.Account{}).AuthJSONWithIdentity("A"))
			raw, _ := os.ReadFile(r.path())
			r.write(regexp.MustCompile(`"background_task_id": "[^"]*",`).ReplaceAll(raw, nil))
		}, func(c *agent.Config) { c.Register = false }, identity.ErrNoTask, "agent-"},
		{"other workspace is forced", func(r *rig) { r.login(chatgpttest.Account{}) },
			func(c *agent.Config) { c.WorkspaceID = "account-9" }, identity.ErrOtherWorkspace, "account-9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			tt.prepare(r)
			a := r.agent(func(c *agent.Config) {
				if tt.edit != nil {
					tt.edit(c)
				}
			})
			for range 3 {
				_, err := a.Session(t.Context(), "")
				r.fails(err, tt.target, tt.text)
			}
			r.stats(chatgpttest.Stats{})
			if n := len(r.server.Requests()); n != 0 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestLoginAppears has a log-in follow one that could not be used, at once.
func TestLoginAppears(t *testing.T) {
	r := newRig(t)
	raw, err := codex.Placeholder(identity.Account{WorkspaceID: "account-123", UserID: "user-123"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r.write(raw)
	a := r.agent()
	for range 5 {
		_, err := a.Session(t.Context(), "")
		r.fails(err, identity.ErrPlaceholder, "")
	}
	r.login(chatgpttest.Account{})
	r.session(a, "")
}

func TestIdentityOutlivesLogin(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	first := r.session(a, "")
	if err := os.Remove(r.path()); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*agent.Agent{a, r.agent()} {
		s := r.session(a, "")
		if s.Task != first.Task || r.accepts(s) != 200 {
			t.Errorf("after the log-out: %+v", s.Task)
		}
		_, err := a.AccessToken(t.Context())
		r.fails(err, identity.ErrNoLogin, "run codex login")
		// There is nobody to vouch for another task.
		_, err = a.Session(t.Context(), "label")
		r.fails(err, identity.ErrNoTask, "401")
	}
	a = r.agent(func(c *agent.Config) { c.WorkspaceID = "account-9" })
	_, err := a.Session(t.Context(), "")
	r.fails(err, identity.ErrOtherWorkspace, "account-9")
}

func TestForcedWorkspace(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent(func(c *agent.Config) { c.WorkspaceID = "account-123" })
	if s := r.session(a, ""); s.Identity.Account.WorkspaceID != "account-123" {
		t.Errorf("signs for %+v", s.Identity.Account)
	}
}

func TestCodexsIdentityIsUsed(t *testing.T) {
	for _, shape := range []string{"A", "B", "C"} {
		t.Run(shape, func(t *testing.T) {
			r := newRig(t)
			l := r.server.Login(chatgpttest.Account{})
			r.write(l.AuthJSONWithIdentity(shape))
			before, _ := os.ReadFile(r.path())
			s := r.session(r.agent(), "")
			if s.Identity.AgentRuntimeID != l.Identity().RuntimeID || r.accepts(s) != 200 {
				t.Errorf("signs as %q", s.Identity.AgentRuntimeID)
			}
			if n := r.server.Stats().AgentRegistrations; n != 0 {
				t.Errorf("%d registrations", n)
			}
			if after, _ := os.ReadFile(r.path()); string(after) != string(before) {
				t.Error("auth.json was touched")
			}
		})
	}
}

func TestManyAtOnce(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	var tasks sync.Map
	together(500, func(int) {
		s, err := a.Session(t.Context(), "")
		if err != nil {
			t.Error(err)
			return
		}
		tasks.Store(s.Task, true)
	})
	r.stats(chatgpttest.Stats{Biscuits: 2, AgentRegistrations: 1, TaskRegistrations: 1})
	together(500, func(i int) {
		s, err := a.Session(t.Context(), fmt.Sprint("label-", i%50))
		if err != nil {
			t.Error(err)
			return
		}
		tasks.Store(s.Task, true)
	})
	r.stats(chatgpttest.Stats{Biscuits: 52, AgentRegistrations: 1, TaskRegistrations: 51})
	n := 0
	tasks.Range(func(any, any) bool { n++; return true })
	if n != 51 {
		t.Errorf("%d tasks", n)
	}
	restarted := r.agent()
	for i := range 50 {
		r.session(restarted, fmt.Sprint("label-", i))
	}
	r.stats(chatgpttest.Stats{Biscuits: 52, AgentRegistrations: 1, TaskRegistrations: 51})
}

func TestTwoProcessesRegisterOnce(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	agents := []*agent.Agent{r.agent(), r.agent(), r.agent()}
	together(60, func(i int) {
		s, err := agents[i%len(agents)].Session(t.Context(), "")
		if err != nil {
			t.Error(err)
		} else if got := r.accepts(s); got != 200 {
			t.Errorf("the backend answered %d", got)
		}
	})
	if got := r.server.Stats().AgentRegistrations; got != 1 {
		t.Errorf("%d agents", got)
	}
	if got := r.aside(); len(got) != 0 {
		t.Errorf("set aside: %q", got)
	}
	// What one registers, the other takes over.
	s := r.session(agents[0], "label")
	if other := r.session(agents[1], "label"); other.Task != s.Task {
		t.Errorf("%+v, want %+v", other.Task, s.Task)
	}
}

// TestAccountChangesMeanwhile logs somebody else in while the agent is being
// registered.
func TestAccountChangesMeanwhile(t *testing.T) {
	for _, path := range []string{"*/authenticate_app_v2", "*/agent/register", "*/task/register"} {
		t.Run(path, func(t *testing.T) {
			r := newRig(t)
			r.login(chatgpttest.Account{})
			var once sync.Once
			r.server.Inject(chatgpttest.Fault{Path: path, Match: func(*http.Request) bool {
				once.Do(func() { r.login(chatgpttest.Account{WorkspaceID: "account-2", UserID: "user-2"}) })
				return false
			}})
			a := r.agent()
			// The task's registration may have been the last step: then the
			// session is the former account's, and whole.
			s := r.session(a, "")
			if path != "*/task/register" && s.Identity.Account.UserID != "user-2" {
				t.Errorf("signs for %+v", s.Identity.Account)
			}
			s = r.session(a, "")
			if s.Identity.Account.UserID != "user-2" || s.Identity.Account.WorkspaceID != "account-2" || r.accepts(s) != 200 {
				t.Errorf("signs for %+v", s.Identity.Account)
			}
			files := append(r.aside(), r.identity())
			for _, file := range files {
				raw, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				record, err := identity.ParseRecord(raw)
				if err != nil || (record.WorkspaceID == "account-2") != (record.UserID == "user-2") {
					t.Errorf("%s: %+v, %v", file, record, err)
				}
			}
			for _, request := range r.server.Requests() {
				if request.Status != 200 {
					t.Errorf("%s: %d %s", request.Path, request.Status, request.Auth.Reason)
				}
			}
		})
	}
}

func TestRegisterAnother(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	first := r.session(a, "")
	id, err := a.Register(t.Context())
	if err != nil || id.AgentRuntimeID == first.Identity.AgentRuntimeID {
		t.Fatalf("%v, %v", id, err)
	}
	if s := r.session(a, ""); s.Identity.AgentRuntimeID != id.AgentRuntimeID || r.accepts(s) != 200 {
		t.Errorf("signs as %q", s.Identity.AgentRuntimeID)
	}
	if len(r.aside()) != 1 {
		t.Errorf("set aside: %q", r.aside())
	}
}

// TestStoreThatFails has what was registered serve though it cannot be kept.
func TestStoreThatFails(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent(func(c *agent.Config) { c.Store = &brokenStore{} })
	first := r.session(a, "")
	for range 3 {
		r.session(a, "another")
		if s := r.session(a, ""); s.Task != first.Task {
			t.Error("it was registered again")
		}
	}
	if got := r.server.Stats().AgentRegistrations; got != 1 {
		t.Errorf("%d agents", got)
	}
	if r.told("in memory only") != 1 {
		t.Errorf("told: %v", r.events)
	}
}

// brokenStore holds nothing and takes nothing.
type brokenStore struct{}

func (*brokenStore) Load() (*identity.Record, error)              { return nil, identity.ErrNoIdentity }
func (*brokenStore) Save(*identity.Record) error                  { return os.ErrPermission }
func (*brokenStore) SetAside(time.Time) (place string, err error) { return "", nil }
func (*brokenStore) Remove() error                                { return nil }
func (*brokenStore) Version() store.Version                       { return store.Version{} }
func (*brokenStore) ReadOnly() error                              { return nil }
func (*brokenStore) String() string                               { return "broken" }

// TestUnwritableState keeps everything in memory where there is no directory.
func TestUnwritableState(t *testing.T) {
	r := newRig(t)
	r.write(r.server.Login(chatgpttest.Account{}).AuthJSONWithIdentity("C"))
	r.state = filepath.Join(r.path(), "state") // below a file
	a := r.agent(func(c *agent.Config) { c.Store = nil })
	first := r.session(a, "x")
	if s := r.session(a, "x"); s.Task != first.Task || r.accepts(s) != 200 {
		t.Errorf("%+v, want %+v", s.Task, first.Task)
	}
	r.session(a, "y")
	if n := r.told("the tasks are remembered in memory only"); n != 1 {
		t.Errorf("told %d times: %v", n, r.events)
	}
}

func TestClose(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	arrived := make(chan struct{})
	r.server.Inject(chatgpttest.Fault{Path: "*/agent/register", Delay: time.Hour, Match: func(*http.Request) bool {
		close(arrived)
		return true
	}})
	failed := make(chan error)
	go func() { _, err := a.Session(t.Context(), ""); failed <- err }()
	<-arrived
	a.Close()
	if err := <-failed; err == nil {
		t.Error("a session of a closed agent")
	}
	if _, err := a.Session(t.Context(), ""); err == nil {
		t.Error("a session of a closed agent")
	}
	if len(r.events) != 0 {
		t.Errorf("told: %v", r.events)
	}
}

// TestTokenIsRefusedAtRegistration renews it for that.
func TestTokenIsRefusedAtRegistration(t *testing.T) {
	r := newRig(t)
	l := r.login(chatgpttest.Account{})
	r.server.ForgetAccessTokens()
	a := r.agent()
	together(50, func(int) {
		if s, err := a.Session(t.Context(), ""); err != nil || r.accepts(s) != 200 {
			t.Error(err)
		}
	})
	r.stats(chatgpttest.Stats{Biscuits: 2, AgentRegistrations: 1, TaskRegistrations: 1, Refreshes: 1})
	if got := r.auth().Tokens.Access_token; got != l.Current().AccessToken {
		t.Error("auth.json holds another token")
	}
	if expiry, err := a.TokenExpiry(t.Context()); err != nil || expiry.Before(r.now()) {
		t.Errorf("the token expires at %s, %v", expiry, err)
	}
	task, ok := a.Task(t.Context(), "")
	if s := r.session(a, ""); !ok || task != s.Task {
		t.Errorf("task %+v, %v", task, ok)
	}
	if _, ok := a.Task(t.Context(), "label"); ok {
		t.Error("a task that nobody registered")
	}
	id, err := a.Identity(t.Context())
	if err != nil || id.AgentRuntimeID != task.AgentRuntimeID {
		t.Errorf("%v, %v", id, err)
	}

	// Refused although it was renewed, with a log-in that has ended.
	r.login(chatgpttest.Account{UserID: "user-2"})
	r.server.ForgetAccessTokens()
	r.server.RevokeRefreshTokens()
	_, err = a.Session(t.Context(), "")
	r.fails(err, identity.ErrLoginEnded, "run codex login")
}

func TestExport(t *testing.T) {
	r := newRig(t)
	l := r.server.Login(chatgpttest.Account{})
	r.write(fmt.Appendf(nil, unknownFields, l.IDToken, l.AccessToken, l.RefreshToken, r.now().UTC().Format(time.RFC3339)))
	a := r.agent()
	s := r.session(a, "")
	record, err := a.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	written, err := record.MarshalFor(identity.ShapeC)
	if err != nil {
		t.Fatal(err)
	}
	if err := codex.OpenHome(r.home).WriteIdentity(t.Context(), written); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(r.path())
	if err != nil || !r.keepsUnknown(raw) {
		t.Errorf("%v:\n%s", err, raw)
	}
	auth, err := codex.ParseAuth(raw)
	if err != nil || auth.Record == nil || auth.Record.AgentRuntimeID != s.Task.AgentRuntimeID || auth.Record.TaskID != s.Task.ID {
		t.Errorf("%+v, %v", auth, err)
	}
	// Into a home where nobody is logged in.
	r.home = filepath.Join(r.home, "new")
	if err := codex.OpenHome(r.home).WriteIdentity(t.Context(), written); err != nil {
		t.Fatal(err)
	}
	if s := r.session(r.agent(func(c *agent.Config) { c.Store = nil }), ""); r.accepts(s) != 200 {
		t.Error("it does not sign")
	}
	if info, err := os.Stat(r.path()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	// Not over what cannot be understood.
	r.write([]byte("{"))
	if err := codex.OpenHome(r.home).WriteIdentity(t.Context(), written); err == nil {
		t.Error("a broken file was replaced")
	}
}
