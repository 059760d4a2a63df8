package issued

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// TestRevokeLabelSetBack has another process revoke a label after the clock was set back. That
// ends the tokens that carry a time which is still to come. The next one of the label is good,
// for as long as it says, and whoever proves the label now gets one.
func TestRevokeLabelSetBack(t *testing.T) {
	t.Parallel()
	for _, back := range []time.Duration{0, 3 * time.Second, 3 * time.Minute, 3 * time.Hour, 400 * 24 * time.Hour} {
		t.Run(back.String(), func(t *testing.T) {
			t.Parallel()
			c, dir := newClock(), t.TempDir()
			open := func() *Tokens { return Open(dir, c.now, func(err error) { t.Error(err) }) }
			serving := open()
			check := func(what, s string, want error) {
				t.Helper()
				c.advance(interval)
				for name, process := range map[string]*Tokens{"that was running": serving, "that has begun since": open()} {
					if _, err := process.Check(s); !errors.Is(err, want) {
						t.Errorf("%s, a process %s: %v, want %v", what, name, err, want)
					}
				}
			}
			issue(t, serving, "a", 500*24*time.Hour-MaxTTL) // which is not the newest
			c.advance(time.Second)
			a, _ := issue(t, serving, "a", MaxTTL)
			other, _ := issue(t, serving, "b", MaxTTL)
			check("before", a, nil)
			c.advance(-back)
			if back > maxSetBack {
				serving = open() // one that goes by the newest time so far has ended none
			}
			revoke := func() {
				t.Helper()
				if err := open().RevokeLabel(t.Context(), "a"); err != nil {
					t.Fatal(err)
				}
			}
			revoke()
			check("revoked", a, ErrRevoked)
			check("another label", other, nil)

			next, token := issue(t, open(), "a", time.Hour)
			if left := token.Expires.Sub(c.now()); left > time.Hour || left < time.Hour-2*time.Second {
				t.Errorf("the next one is good for %s", left)
			}
			if back <= maxSetBack {
				check("the next one", next, nil)
			}
			proved, _, err := open().IssueFor(t.Context(), "a", c.now(), c.now().Add(time.Hour), time.Hour)
			if err != nil {
				t.Fatalf("a proof of now: %v", err)
			}
			check("one for a proof", proved, nil)
			revoke()
			for what, s := range map[string]string{"the first": a, "the next one": next, "one for a proof": proved} {
				check(what+", revoked again", s, ErrRevoked)
			}
			check("another label", other, nil)
		})
	}
}

// TestLastIssuedIsBroken: what cannot be known is not guessed. What is known is revoked.
func TestLastIssuedIsBroken(t *testing.T) {
	t.Parallel()
	c := newClock()
	tokens := Open(t.TempDir(), c.now, func(err error) { t.Error(err) })
	s, token := issue(t, tokens, "a", time.Hour)
	if err := os.WriteFile(tokens.lastPath(), []byte("soon\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const remedy = "remove it, and to end all tokens run: agentproxy token revoke --all"
	if _, _, err := tokens.Issue(t.Context(), "a", time.Hour); err == nil || !strings.Contains(err.Error(), remedy) {
		t.Errorf("issue: %v", err)
	}
	if _, err := tokens.Check(s); err != nil {
		t.Errorf("a token that was issued before: %v", err)
	}
	if err := tokens.RevokeLabel(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), remedy) || !strings.Contains(err.Error(), `the tokens of "a" are revoked`) {
		t.Errorf("revoke a label: %v", err)
	}
	c.advance(interval)
	if _, err := tokens.Check(s); !errors.Is(err, ErrRevoked) {
		t.Errorf("a token of the label: %v", err)
	}
	if err := tokens.RevokeToken(t.Context(), token); err != nil {
		t.Errorf("revoke one: %v", err)
	}
	if err := tokens.RevokeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := tokens.Issue(t.Context(), "a", time.Hour); err != nil {
		t.Errorf("issue after all were ended: %v", err)
	}
}
