package signer

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestHeldSessions has sessions looked up once for all requests of a label
// within a moment, and anew after that and after a refusal.
func TestHeldSessions(t *testing.T) {
	// Not in the bubble, which the self-tests of FIPS 140-3 mode do not get along
	// with: they come with the first key.
	sessions := newSessions(t)
	synctest.Test(t, func(t *testing.T) {
		s := NewAgentAssertion(sessions, time.Now).CacheSessions(time.Second)
		sign := func(label string, asked int) *Authorization {
			t.Helper()
			auth, err := s.Sign(t.Context(), Request{Label: label})
			if err != nil {
				t.Fatal(err)
			}
			if sessions.asked != asked {
				t.Errorf("sessions were asked for %d times, want %d", sessions.asked, asked)
			}
			return auth
		}
		sign("a", 1)
		sign("a", 1)
		sign("b", 2)
		time.Sleep(time.Second)
		refused := sign("a", 3)
		if refused != sign("a", 3) {
			t.Error("the assertion was made twice")
		}
		renewed, err := s.Renew(t.Context(), Request{Label: "a"}, refused)
		if err != nil || renewed.TaskID == refused.TaskID {
			t.Errorf("after a refusal of %s: %+v, %v", refused.TaskID, renewed, err)
		}
		if got := sign("a", 4); got.TaskID != renewed.TaskID {
			t.Errorf("signed for task %s, want %s", got.TaskID, renewed.TaskID)
		}
		sessions.refuse = true
		if _, err := s.Renew(t.Context(), Request{Label: "a"}, renewed); err != errNotRenewable {
			t.Errorf("where there is no other task: %v", err)
		}
		sign("a", 5)
	})
}

// TestHeldSessionsAreBounded: labels are the clients' words.
func TestHeldSessionsAreBounded(t *testing.T) {
	s := NewAgentAssertion(newSessions(t), time.Now).CacheSessions(time.Hour)
	for i := range maxRecent + 10 {
		if _, err := s.session(t.Context(), time.Duration(i).String()); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.cached) != 10 {
		t.Errorf("%d sessions are held", len(s.cached))
	}
}
