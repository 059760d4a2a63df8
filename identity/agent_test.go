package identity_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
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
	store := identity.NewFileStore(filepath.Join(t.TempDir(), "identity.json"))
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
		edit    func(*identity.AgentConfig)
		target  error
		text    string
	}{
		{"no file", func(*rig) {}, nil, identity.ErrNoLogin, "run codex login"},
		{"API key", func(r *rig) { r.write([]byte(`{"OPENAI_API_KEY":"sk-1"}`)) }, nil, identity.ErrAPIKey, "run codex login"},
		{"broken", func(r *rig) { r.write([]byte(`{"tokens":`)) }, nil, nil, "ends in the middle"},
		{"placeholder", func(r *rig) {
			raw, err := identity.Placeholder(identity.Account{WorkspaceID: "account-123", UserID: "user-123"}, time.Now())
			if err != nil {
				panic(err)
			}
			r.write(raw)
		}, nil, identity.ErrPlaceholder, "real log-in"},
		{"registration off", func(r *rig) { r.login(chatgpttest.Account{}) },
			func(c *identity.AgentConfig) { c.Register = false }, identity.ErrNoIdentity, "auth.json"},
		{"no backend", func(r *rig) { r.login(chatgpttest.Account{}) },
			func(c *identity.AgentConfig) { c.Backend = nil }, identity.ErrNoIdentity, ""},
		{"registration off, no task", func(r *rig) {
			r.write(r.server.Login(chatgpttest.Account{}).AuthJSONWithIdentity("A"))
			raw, _ := os.ReadFile(r.path())
			r.write(regexp.MustCompile(`"background_task_id": "[^"]*",`).ReplaceAll(raw, nil))
		}, func(c *identity.AgentConfig) { c.Register = false }, identity.ErrNoTask, "agent-"},
		{"other workspace is forced", func(r *rig) { r.login(chatgpttest.Account{}) },
			func(c *identity.AgentConfig) { c.WorkspaceID = "account-9" }, identity.ErrOtherWorkspace, "account-9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			tt.prepare(r)
			a := r.agent(func(c *identity.AgentConfig) {
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
	raw, err := identity.Placeholder(identity.Account{WorkspaceID: "account-123", UserID: "user-123"}, time.Now())
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
	for _, a := range []*identity.Agent{a, r.agent()} {
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
	a = r.agent(func(c *identity.AgentConfig) { c.WorkspaceID = "account-9" })
	_, err := a.Session(t.Context(), "")
	r.fails(err, identity.ErrOtherWorkspace, "account-9")
}

func TestForcedWorkspace(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent(func(c *identity.AgentConfig) { c.WorkspaceID = "account-123" })
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
	agents := []*identity.Agent{r.agent(), r.agent(), r.agent()}
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

func TestDeadBackendIsNotHammered(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	for _, fault := range []chatgpttest.Fault{
		{Path: "*/agent/register", Status: 500},
		{Path: "*/agent/register", Reset: true},
		{Path: "*/agent/register", Status: 429, Body: "<html>"},
		{Path: "*/agent/register", Status: 200, Body: "<html>\nnot JSON</html>"},
		{Path: "*/agent/register", Status: 200, Body: `{"agent_runtime_id":""}`},
		{Path: "*/agent/register", Status: 200, Body: `{"agent_runtime_id":7}`},
		{Path: "*/agent/register", Status: 200, Body: `{"agent_runtime_id":"a\nb"}`},
		{Path: "*/agent/register", Status: 200, Body: strings.Repeat(" ", 2<<20) + `{"agent_runtime_id":"a"}`},
		{Path: "*/agent/register", Status: 200, Body: `{"agent_runtime_id":"` + strings.Repeat("a", 2000) + `"}`},
		{Path: "*/authenticate_app_v2", Status: 503},
		{Path: "*/authenticate_app_v2", Status: 200, Body: "no header"},
		{Path: "*/authenticate_app_v2", Status: 302, Header: http.Header{"Location": {"https://example.com/"}}},
	} {
		r.server.ResetRequests()
		stop := r.server.Inject(fault)
		start := r.now()
		for range 250 {
			together(3, func(int) {
				_, err := a.Session(t.Context(), "")
				if err == nil {
					t.Fatal("a session without an identity")
				}
				r.mu.Lock()
				r.errs = append(r.errs, err)
				r.mu.Unlock()
			})
			r.advance(time.Second)
		}
		took := r.now().Sub(start)
		// 1, 2, 4, 8, 16, 30, 30 ... s, each half as long at least, and half as
		// long again at most.
		if n := r.server.Count(fault.Path); n < 6 || n > 24 {
			t.Errorf("%+v: %d tries in %s", fault, n, took)
		}
		stop()
		r.advance(10 * time.Minute)
		s := r.session(a, "")
		if got := r.accepts(s); got != 200 {
			t.Errorf("the backend answered %d", got)
		}
		// On to the next: another user.
		r.login(chatgpttest.Account{UserID: fmt.Sprint("user-", fault.Path, fault.Status, len(fault.Body), fault.Reset)})
	}
}

func TestTaskFailures(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	r.session(a, "")
	for i, tt := range []struct {
		fault chatgpttest.Fault
		text  string
	}{
		{chatgpttest.Fault{BadSealedTask: true}, "not sealed for this agent's key"},
		{chatgpttest.Fault{Status: 500}, "500"},
		{chatgpttest.Fault{Reset: true}, "register a task"},
		{chatgpttest.Fault{Status: 200, Body: "{}"}, "holds no task id"},
		{chatgpttest.Fault{Status: 200, Body: "[]"}, "expected object"},
		{chatgpttest.Fault{Status: 200, Body: `{"encrypted_task_id":"!"}`}, "base64"},
		{chatgpttest.Fault{Status: 200, Body: `{"task_id":"a\u0000b"}`}, "control characters"},
		{chatgpttest.Fault{Status: 200, Body: strings.Repeat("\n", 3<<20)}, "larger than 1 MiB"},
		{chatgpttest.Fault{Status: 403, Body: `{"error":{"code":"not_allowed"}}`}, "403 (not_allowed)"},
	} {
		tt.fault.Path = "*/task/register"
		stop := r.server.Inject(tt.fault)
		r.server.ResetRequests()
		// However many labels ask, the backend is asked little.
		for j := range 100 {
			_, err := a.Session(t.Context(), fmt.Sprintf("label-%d-%d", i, j))
			r.fails(err, identity.ErrNoTask, tt.text)
			r.advance(100 * time.Millisecond)
		}
		if n := r.server.Count("*/task/register"); n < 3 || n > 6 {
			t.Errorf("%+v: %d tries in 10 s", tt.fault, n)
		}
		stop()
		r.advance(10 * time.Minute)
		r.session(a, fmt.Sprint("label-", i))
	}
	if got := r.server.Stats().AgentRegistrations; got != 1 {
		t.Errorf("%d agents", got)
	}
}

// TestManyFailTogether has one failure count where many labels tried at once.
func TestManyFailTogether(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	r.session(a, "")
	stop := r.server.Inject(chatgpttest.Fault{Path: "*/task/register", Status: 500, Delay: 50 * time.Millisecond})
	together(50, func(i int) {
		if _, err := a.Session(t.Context(), fmt.Sprint(i)); err == nil {
			t.Error("a session without a task")
		}
	})
	stop()
	r.advance(2 * time.Second) // a single failure's longest wait
	r.session(a, "after")
}

func TestCancelledRequestFailsNobodyElse(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	arrived, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r.server.Inject(chatgpttest.Fault{Path: "*/agent/register", Match: func(*http.Request) bool {
		once.Do(func() { close(arrived); <-release })
		return false
	}})
	ctx, cancel := newContext(t)
	failed := make(chan error)
	go func() { _, err := a.Session(ctx, ""); failed <- err }()
	<-arrived
	done := make(chan error)
	go func() { _, err := a.Session(t.Context(), ""); done <- err }()
	cancel()
	if err := <-failed; err == nil {
		t.Error("a session for nobody")
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	r.stats(chatgpttest.Stats{Biscuits: 2, AgentRegistrations: 1, TaskRegistrations: 1})
}

func TestRefuseTask(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	old := r.session(a, "x")
	other := r.session(a, "y")
	r.server.ForgetTasks()
	if got := r.accepts(old); got != 401 {
		t.Fatalf("the backend answered %d", got)
	}
	var yes atomic.Int32
	together(100, func(int) {
		if a.RefuseTask("x", old.Task) {
			yes.Add(1)
		}
		s, err := a.Session(t.Context(), "x")
		if err != nil {
			t.Error(err)
		} else if s.Task == old.Task {
			t.Error("the refused task came back")
		} else if got := r.accepts(s); got != 200 {
			t.Errorf("the backend answered %d", got)
		}
	})
	if yes.Load() != 100 {
		t.Errorf("%d of 100 were told to try again", yes.Load())
	}
	if got := r.server.Stats().TaskRegistrations; got != 3 {
		t.Errorf("%d tasks, want 3", got)
	}
	if s := r.session(a, "y"); s.Task != other.Task {
		t.Error("another label's task was dropped")
	}
	// A late 401 for the old task drops nothing.
	now := r.session(a, "x")
	if !a.RefuseTask("x", old.Task) || r.session(a, "x").Task != now.Task {
		t.Error("a late refusal dropped the new task")
	}
	// Not after a restart either.
	if s := r.session(r.agent(), "x"); s.Task != now.Task {
		t.Error("the refused task was kept")
	}
	// A backend that refuses everything gets few new tasks.
	renewed := 0
	for range 600 {
		s := r.session(a, "x")
		if a.RefuseTask("x", s.Task) {
			renewed++
		}
		r.advance(time.Second)
	}
	if renewed < 5 || renewed > 10 {
		t.Errorf("%d renewals in ten minutes", renewed)
	}
	off := r.agent(func(c *identity.AgentConfig) { c.Register = false })
	if off.RefuseTask("x", now.Task) {
		t.Error("there is nothing else where registration is off")
	}
}

func TestBackendForgetsAgents(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	old := r.session(a, "")
	r.server.ForgetAgents()
	together(50, func(int) {
		if !a.RefuseTask("", old.Task) {
			t.Error("not told to try again")
		}
		s, err := a.Session(t.Context(), "")
		if err != nil {
			t.Error(err)
		} else if got := r.accepts(s); got != 200 {
			t.Errorf("the backend answered %d", got)
		}
	})
	if got := r.server.Stats(); got.AgentRegistrations != 2 || got.TaskRegistrations != 2 {
		t.Errorf("counted %+v", got)
	}
	if len(r.aside()) != 1 {
		t.Errorf("set aside: %q", r.aside())
	}
	r.session(r.agent(), "")

	// One that knows none of the agents that it registers is not flooded.
	defer r.server.Inject(chatgpttest.Fault{Path: "*/task/register", Status: 404})()
	before := r.server.Stats().AgentRegistrations
	for i := range 600 {
		_, err := a.Session(t.Context(), fmt.Sprint("label-", i))
		r.fails(err, identity.ErrNoTask, "404")
		r.advance(time.Second)
	}
	if n := r.server.Stats().AgentRegistrations - before; n < 1 || n > 11 {
		t.Errorf("%d agents in ten minutes", n)
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
	a := r.agent(func(c *identity.AgentConfig) { c.Store = &brokenStore{} })
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
func (*brokenStore) Version() identity.StoreVersion               { return identity.StoreVersion{} }
func (*brokenStore) String() string                               { return "broken" }

// TestUnwritableState keeps everything in memory where there is no directory.
func TestUnwritableState(t *testing.T) {
	r := newRig(t)
	r.write(r.server.Login(chatgpttest.Account{}).AuthJSONWithIdentity("C"))
	r.state = filepath.Join(r.path(), "state") // below a file
	a := r.agent(func(c *identity.AgentConfig) { c.Store = nil })
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
	if err := a.WriteCodex(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(r.path())
	if err != nil || !r.keepsUnknown(raw) {
		t.Errorf("%v:\n%s", err, raw)
	}
	auth, err := identity.ParseAuth(raw)
	if err != nil || auth.Record == nil || auth.Record.AgentRuntimeID != s.Task.AgentRuntimeID || auth.Record.TaskID != s.Task.ID {
		t.Errorf("%+v, %v", auth, err)
	}
	// Into a home where nobody is logged in.
	r.home = filepath.Join(r.home, "new")
	if err := r.agent().WriteCodex(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	if s := r.session(r.agent(func(c *identity.AgentConfig) { c.Store = nil }), ""); r.accepts(s) != 200 {
		t.Error("it does not sign")
	}
	if info, err := os.Stat(r.path()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	// Not over what cannot be understood.
	r.write([]byte("{"))
	if err := r.agent().WriteCodex(t.Context(), record); err == nil {
		t.Error("a broken file was replaced")
	}
}
