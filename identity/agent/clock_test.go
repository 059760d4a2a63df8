package agent_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// TestSkewedClock registers and signs on a machine whose clock is off.
func TestSkewedClock(t *testing.T) {
	for _, skew := range []time.Duration{9 * time.Minute, -9 * time.Minute} {
		t.Run(skew.String(), func(t *testing.T) {
			r := newRig(t)
			r.localOnly.Store(int64(skew))
			r.server.SetTokenLifetime(24 * time.Hour)
			r.login(chatgpttest.Account{})
			a := r.agent()
			s := r.session(a, "")
			if (s.ClockOffset+skew).Abs() > 2*time.Second || a.ClockOffset() != s.ClockOffset {
				t.Errorf("offset %s for a clock that is %s ahead", s.ClockOffset, skew)
			}
			if got := r.accepts(s); got != 200 {
				t.Errorf("the backend answered %d", got)
			}
			registered, err := time.Parse(time.RFC3339, r.record().RegisteredAt)
			if err != nil || time.Since(registered).Abs() > time.Minute {
				t.Errorf("registered at %s, %v", registered, err)
			}
			r.stats(chatgpttest.Stats{Biscuits: 2, AgentRegistrations: 1, TaskRegistrations: 1})
			if s := r.session(r.agent(), ""); s.Task.ID == "" {
				t.Error("no task after a restart")
			}
		})
	}
}

// TestSkewIsLearntFromTheRefusal has nothing told before the task is registered.
func TestSkewIsLearntFromTheRefusal(t *testing.T) {
	r := newRig(t)
	r.write(r.server.Login(chatgpttest.Account{}).AgentAuthJSON("B"))
	s := r.session(r.agent(), "")
	if got := r.accepts(s); got != 200 {
		t.Fatalf("the backend answered %d", got)
	}
	a := r.agent()
	r.session(a, "")
	r.localOnly.Store(int64(9 * time.Minute)) // it is set while the agent runs
	s = r.session(a, "label")
	if got := r.accepts(s); got != 200 {
		t.Errorf("the backend answered %d", got)
	}
}

// TestClockToldOnce has many answers come at once.
func TestClockToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		told := 0
		c := backend.NewClock(nil, func(time.Duration) { mu.Lock(); told++; mu.Unlock() })
		together(50, func(int) { c.Observe(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)) })
		if told != 1 {
			t.Errorf("told %d times", told)
		}
	})
}
