package issued

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestRevocations compares the index of a list with a look through all of it.
func TestRevocations(t *testing.T) {
	t.Parallel()
	base := time.Unix(1_800_000_000, 0)
	var l list
	for i := range 300 {
		e := entry{Until: base.Add(time.Hour)}
		if i%3 == 0 {
			e.ID = fmt.Sprint("ID", i)
		} else {
			e.Label, e.Before = fmt.Sprint("label", i%40), base.Add(time.Duration(i*7919%600)*time.Second)
		}
		l = append(l, e)
	}
	through := func(token *Token) bool {
		for _, e := range l {
			if e.ID != "" && e.ID == token.ID || e.Label != "" && e.Label == token.Label && !token.Issued.After(e.Before) {
				return true
			}
		}
		return false
	}
	index, revoked := l.index(), 0
	for i := range 320 {
		for _, offset := range []time.Duration{-time.Second, 0, 100 * time.Second, 599 * time.Second, time.Hour} {
			token := &Token{ID: fmt.Sprint("ID", i), Label: fmt.Sprint("label", i%50), Issued: base.Add(offset)}
			if got, want := index.has(token), through(token); got != want {
				t.Fatalf("%+v: %t, want %t", token, got, want)
			} else if got {
				revoked++
			}
		}
	}
	if revoked == 0 || revoked == 320*5 {
		t.Errorf("%d were revoked", revoked)
	}
	if index.has(&Token{}) || list(nil).index().has(&Token{ID: "x", Label: "y"}) {
		t.Error("an empty id or label was revoked")
	}
}

// BenchmarkGood asks for a token beside a full list.
func BenchmarkGood(b *testing.B) {
	l := make(list, maxRevoked)
	for i := range l {
		l[i] = entry{ID: fmt.Sprint(i)}
	}
	index, token := l.index(), &Token{ID: "x", Label: "y", Issued: time.Unix(1, 0)}
	b.ReportAllocs()
	for b.Loop() {
		if index.has(token) {
			b.Fatal("revoked")
		}
	}
}

// TestIssueFor: who has proved a label gets a token that ends with the proof, and none if
// the label was revoked since.
func TestIssueFor(t *testing.T) {
	t.Parallel()
	c := newClock()
	tokens := Open(t.TempDir(), c.now, func(error) {})
	proved := c.now()
	for _, test := range []struct {
		until time.Time
		ttl   time.Duration
		want  time.Duration // 0: it has expired
	}{
		{proved.Add(10 * time.Minute), time.Hour, 10 * time.Minute},
		{proved.Add(10 * time.Hour), time.Hour, time.Hour},
		{proved.Add(2 * time.Second), time.Hour, 2 * time.Second},
		{proved.Truncate(time.Second), time.Hour, 0},
		{proved.Add(-time.Hour), time.Hour, 0},
	} {
		s, token, err := tokens.IssueFor(t.Context(), "a", proved, test.until, test.ttl)
		if test.want == 0 {
			if !errors.Is(err, ErrExpired) {
				t.Errorf("until %s: %v", test.until, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if left := token.Expires.Sub(proved); left > test.want || left < test.want-time.Second || token.Expires.After(test.until) {
			t.Errorf("until %s, %s: it is good for %s", test.until, test.ttl, left)
		}
		if got, err := tokens.Check(s); err != nil || got.Label != "a" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if err := tokens.RevokeLabel(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	c.advance(5 * time.Second)
	if _, _, err := tokens.IssueFor(t.Context(), "a", proved, proved.Add(time.Hour), time.Hour); !errors.Is(err, ErrRevoked) {
		t.Errorf("a proof from before the revocation: %v", err)
	}
	if _, _, err := tokens.IssueFor(t.Context(), "b", proved, proved.Add(time.Hour), time.Hour); err != nil {
		t.Errorf("another label: %v", err)
	}
	if _, _, err := tokens.IssueFor(t.Context(), "a", c.now(), proved.Add(time.Hour), time.Hour); err != nil {
		t.Errorf("a new proof: %v", err)
	}
}

// TestSharedKey: replicas that have the same key take each other's tokens.
func TestSharedKey(t *testing.T) {
	t.Parallel()
	c, file := newClock(), filepath.Join(t.TempDir(), "key")
	a, b := Open(t.TempDir(), c.now, func(error) {}).WithKey(file), Open(t.TempDir(), c.now, func(error) {}).WithKey(file)
	if _, _, err := a.Issue(t.Context(), "x", time.Hour); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("without the file: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file was made")
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.advance(time.Minute)
	}
	write(strings.Repeat("0f", keyBytes) + "\n")
	s, _, err := a.Issue(t.Context(), "x", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if token, err := b.Check(s); err != nil || token.Label != "x" {
		t.Errorf("%+v, %v", token, err)
	}
	if err := b.RevokeAll(t.Context()); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("%v", err)
	}
	write(strings.Repeat("0e", keyBytes))
	if _, err := b.Check(s); !errors.Is(err, ErrForeign) {
		t.Errorf("after the key was replaced: %v", err)
	}
	write("short")
	if _, err := b.Check(s); !errors.Is(err, ErrUnread) {
		t.Errorf("a key that is none: %v", err)
	}
	if _, _, err := b.Issue(t.Context(), "x", time.Hour); err == nil || !strings.Contains(err.Error(), "openssl rand -hex 32") {
		t.Errorf("%v", err)
	}
}
