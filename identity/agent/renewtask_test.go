package agent_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestTaskIsReplacedInBackground has nobody wait for the registration of a task
// that takes the place of one which is due.
func TestTaskIsReplacedInBackground(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	old := r.session(a, "x")
	release := make(chan struct{})
	r.server.Inject(chatgpttest.Fault{Path: "*/task/register", Match: func(*http.Request) bool { <-release; return false }})
	r.advance(20 * time.Hour)
	together(50, func(int) {
		if s := r.session(a, "x"); s.Task != old.Task {
			t.Errorf("task %q, want the former one", s.Task.ID)
		}
	})
	close(release)
	eventually(t, "there is another task", func() bool { return r.session(a, "x").Task != old.Task })
	if r.tasks() != 2 {
		t.Errorf("%d tasks were registered, want 2", r.tasks())
	}
	if got := r.accepts(r.session(a, "x")); got != 200 {
		t.Errorf("the backend answered %d", got)
	}
	// Who will not be there any more by then can wait for it.
	a = r.agent()
	r.advance(20 * time.Hour)
	if err := a.RenewTask(t.Context(), "x"); err != nil || r.tasks() != 3 {
		t.Errorf("renew: %v, %d tasks", err, r.tasks())
	}
	if err := a.RenewTask(t.Context(), "x"); err != nil || r.tasks() != 3 {
		t.Errorf("renew what is not due: %v, %d tasks", err, r.tasks())
	}
	if err := a.RenewTask(t.Context(), "unknown"); err != nil || r.tasks() != 3 {
		t.Errorf("renew what there is not: %v, %d tasks", err, r.tasks())
	}
}

// TestTaskOutlivesOutage has the backend register nothing for two days. Tasks are
// used meanwhile for as long as it may know them.
func TestTaskOutlivesOutage(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	old := r.session(a, "")
	if err := a.TaskOverdue(t.Context(), ""); err != nil {
		t.Errorf("a new task is overdue: %v", err)
	}
	stop := r.server.Inject(chatgpttest.Fault{Path: "*/task/register", Status: 500})
	r.advance(20 * time.Hour)
	r.fails(a.RenewTask(t.Context(), ""), nil, "the backend answered 500")
	r.fails(a.TaskOverdue(t.Context(), ""), nil, "the backend answered 500")
	for range 600 { // no more than any registration that fails
		if s := r.session(a, ""); s.Task != old.Task {
			t.Fatalf("task %q, want the former one", s.Task.ID)
		}
		r.fails(a.RenewTask(t.Context(), ""), nil, "the backend answered 500")
		r.advance(time.Second)
	}
	if got := r.accepts(r.session(a, "")); got != 200 {
		t.Errorf("the backend answered %d", got)
	}
	if n := r.server.Count("*/task/register"); n > 30 {
		t.Errorf("%d tries in ten minutes", n)
	}
	if n := r.told("a task is used past its time"); n != 1 {
		t.Errorf("told %d times", n)
	}
	if n := r.told("no task was registered"); n != 0 {
		t.Error("told that there is none")
	}
	restarted := r.agent(func(c *agent.Config) { c.Notify = nil })
	if s := r.session(restarted, ""); s.Task != old.Task {
		t.Error("a restart lost the task")
	}
	r.advance(27 * time.Hour)
	r.session(a, "")
	r.advance(time.Hour)
	_, err := a.Session(t.Context(), "")
	r.fails(err, identity.ErrNoTask, "the backend answered 500")
	if err := a.TaskOverdue(t.Context(), ""); err != nil {
		t.Errorf("what is not used is overdue: %v", err)
	}
	stop()
	r.advance(time.Minute)
	if got := r.accepts(r.session(a, "")); got != 200 {
		t.Errorf("the backend answered %d", got)
	}
	stop = r.server.Inject(chatgpttest.Fault{Path: "*/task/register", Status: 500})
	defer stop()
	r.advance(20 * time.Hour)
	r.fails(a.RenewTask(t.Context(), ""), nil, "the backend answered 500")
	if n := r.told("a task is used past its time"); n != 2 {
		t.Errorf("told %d times of two outages", n)
	}
}

// TestOverdueTaskIsForgotten has the backend refuse a task during an outage. It is
// not used again, and another is had as soon as there is one.
func TestOverdueTaskIsForgotten(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	old := r.session(a, "x")
	stop := r.server.Inject(chatgpttest.Fault{Path: "*/task/register", Status: 500})
	r.advance(25 * time.Hour)
	r.session(a, "x")
	r.server.ForgetTasks()
	if !a.TaskRejected("x", old.Task) {
		t.Error("there is nothing new to sign with")
	}
	for _, a := range []*agent.Agent{a, r.agent()} {
		_, err := a.Session(t.Context(), "x")
		r.fails(err, identity.ErrNoTask, "500")
	}
	stop()
	r.advance(time.Minute)
	if s := r.session(a, "x"); s.Task == old.Task || r.accepts(s) != 200 {
		t.Error("no other task has taken the place of the one that was refused")
	}
}

// TestRefusalIsRemembered has a label's task refused during an outage. The label
// stays without one by refusal, after a restart too, until another is registered.
func TestRefusalIsRemembered(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	old := r.session(a, "x")
	r.session(a, "y")
	outage := chatgpttest.Fault{Path: "*/task/register", Status: 500}
	stop := r.server.Inject(outage)
	for label, want := range map[string]bool{"x": true, "z": false} {
		if want && !a.TaskRejected(label, old.Task) {
			t.Error("there is nothing new to sign with")
		}
		for name, a := range map[string]*agent.Agent{"the same": a, "another": r.agent()} {
			for range 3 { // its backoff included
				_, err := a.Session(t.Context(), label)
				r.fails(err, identity.ErrNoTask, "500")
				if got := errors.Is(err, identity.ErrTaskRefused); got != want {
					t.Errorf("%s process, label %q: %v; it is said to be refused: %v, want %v", name, label, err, got, want)
				}
			}
		}
	}
	r.session(a, "y") // has its own

	stop()
	r.advance(time.Minute)
	next := r.session(a, "x")
	stop = r.server.Inject(outage)
	defer stop()
	r.advance(3 * 24 * time.Hour)
	for _, a := range []*agent.Agent{a, r.agent()} {
		_, err := a.Session(t.Context(), "x")
		r.fails(err, identity.ErrNoTask, "500")
		if errors.Is(err, identity.ErrTaskRefused) {
			t.Errorf("task %q, which only grew old: %v", next.Task.ID, err)
		}
	}
}

// TestRefusalWithoutRegistration has the backend refuse a task that can only grow
// too old.
func TestRefusalWithoutRegistration(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	old := r.session(r.agent(), "x")
	a := r.agent(func(c *agent.Config) { c.Register = false })
	if a.TaskRejected("x", old.Task) {
		t.Error("there is nothing else to sign with")
	}
	if s := r.session(a, "x"); s.Task != old.Task {
		t.Errorf("task %q, want the only one", s.Task.ID)
	}
	r.advance(3 * 24 * time.Hour)
	_, err := a.Session(t.Context(), "x")
	r.fails(err, identity.ErrTaskRefused, "no task")
}

// TestRefusedWhileReplaced has a task refused while its replacement is registered:
// those who sign anew wait for that one.
func TestRefusedWhileReplaced(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	old := r.session(a, "x")
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	r.server.Inject(chatgpttest.Fault{Path: "*/task/register", Match: func(*http.Request) bool {
		arrived <- struct{}{}
		<-release
		return false
	}})
	r.advance(20 * time.Hour)
	r.session(a, "x")
	<-arrived
	if !a.TaskRejected("x", old.Task) {
		t.Error("there is nothing new to sign with")
	}
	done := make(chan identity.Session)
	go func() { s, _ := a.Session(t.Context(), "x"); done <- s }()
	close(release)
	if s := <-done; s.Identity == nil || s.Task == old.Task || r.accepts(s) != 200 {
		t.Errorf("task %q", s.Task.ID)
	}
	if r.tasks() != 2 {
		t.Errorf("%d tasks were registered, want 2", r.tasks())
	}
}

// TestForgottenAgentIsReplacedInBackground has the registration of a replacement
// find that the backend does not know the agent any more.
func TestForgottenAgentIsReplacedInBackground(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	a := r.agent()
	old := r.session(a, "")
	r.server.ForgetAgents()
	r.advance(20 * time.Hour)
	if s := r.session(a, ""); s.Task != old.Task {
		t.Error("somebody waited for a registration")
	}
	eventually(t, "there is another agent", func() bool {
		return r.session(a, "").Identity.AgentRuntimeID != old.Identity.AgentRuntimeID
	})
	if got := r.accepts(r.session(a, "")); got != 200 {
		t.Errorf("the backend answered %d", got)
	}
}

// TestOverdueWithoutRegistration uses what there is, the record's own task before
// one that is overdue.
func TestOverdueWithoutRegistration(t *testing.T) {
	r := newRig(t)
	r.login(chatgpttest.Account{})
	kept := r.session(r.agent(), "")
	r.advance(20 * time.Hour)
	off := func(c *agent.Config) { c.Register = false }
	a := r.agent(off)
	if s := r.session(a, ""); s.Task != kept.Task {
		t.Errorf("task %q, want %q", s.Task.ID, kept.Task.ID)
	}
	if err := a.RenewTask(t.Context(), ""); err != nil || r.tasks() != 1 {
		t.Errorf("renewed although registration is off: %v", err)
	}
	if _, err := a.Session(t.Context(), "x"); err == nil {
		t.Error("another label got the task")
	}
	record, err := r.agent(off).Export(t.Context())
	if err != nil || record.TaskID != kept.Task.ID {
		t.Fatalf("exported task %q, %v", record.TaskID, err)
	}
	record.TaskID = "task-own"
	if err := os.WriteFile(filepath.Join(r.state, "identity.json"), record.MarshalShapeC(), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := r.session(r.agent(off), ""); s.Task.ID != "task-own" {
		t.Errorf("task %q, want the record's own", s.Task.ID)
	}
	if s := r.session(r.agent(), ""); s.Task != kept.Task {
		t.Errorf("task %q, want %q until it is replaced", s.Task.ID, kept.Task.ID)
	}
}
