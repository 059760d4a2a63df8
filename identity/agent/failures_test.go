package agent_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

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
		for range 120 {
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
		if n := r.server.Count(fault.Path); n < 5 || n > 15 {
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

func TestTaskRejected(t *testing.T) {
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
		if a.TaskRejected("x", old.Task) {
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
	if !a.TaskRejected("x", old.Task) || r.session(a, "x").Task != now.Task {
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
		if a.TaskRejected("x", s.Task) {
			renewed++
		}
		r.advance(time.Second)
	}
	if renewed < 5 || renewed > 10 {
		t.Errorf("%d renewals in ten minutes", renewed)
	}
	off := r.agent(func(c *agent.Config) { c.Register = false })
	if off.TaskRejected("x", now.Task) {
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
		if !a.TaskRejected("", old.Task) {
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
