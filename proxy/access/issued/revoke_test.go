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
	a, b := Open(t.TempDir(), c.now, func(error) {}).Shared(file, ""), Open(t.TempDir(), c.now, func(error) {}).Shared(file, "")
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

// TestSharedList: replicas that share a list take no token that was revoked in it, nor any
// while they cannot read it. The list is a file that is mounted, as Kubernetes mounts one: a
// link to one in a directory that is replaced as a whole.
func TestSharedList(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	key, mounted, edited := filepath.Join(dir, "key"), filepath.Join(dir, "revoked.json"), filepath.Join(dir, "edited.json")
	if err := os.WriteFile(key, []byte(strings.Repeat("0f", keyBytes)), 0o600); err != nil {
		t.Fatal(err)
	}
	generation := 0
	mount := func(mode os.FileMode) {
		t.Helper()
		raw, err := os.ReadFile(edited)
		if err != nil {
			t.Fatal(err)
		}
		generation++
		next := filepath.Join(dir, fmt.Sprint("..", generation))
		if err := errors.Join(os.WriteFile(next, raw, mode), os.Chmod(next, mode), os.Symlink(next, mounted+".new"), os.Rename(mounted+".new", mounted)); err != nil {
			t.Fatal(err)
		}
		c.advance(time.Second)
	}
	open := func(key, list string) *Tokens { return Open(t.TempDir(), c.now, func(error) {}).Shared(key, list) }
	a, b := open(key, mounted), open(key, mounted)
	operator := open(filepath.Join(dir, "no key here"), edited)

	if _, _, err := a.Issue(t.Context(), "x", time.Hour); err == nil || !strings.Contains(err.Error(), "make an empty one: echo [] > "+mounted) {
		t.Errorf("without the list: %v", err)
	}
	if err := operator.RevokeLabel(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "make an empty one: echo [] > "+edited) {
		t.Errorf("without the list: %v", err)
	}
	if err := os.WriteFile(edited, []byte("[]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	mount(0o644)
	check := func(what string, s string, want error) {
		t.Helper()
		c.advance(time.Second)
		for name, replica := range map[string]*Tokens{"a": a, "b": b} {
			if _, err := replica.Check(s); !errors.Is(err, want) {
				t.Errorf("%s, replica %s: %v, want %v", what, name, err, want)
			}
		}
	}
	x, token := issue(t, a, "x", time.Hour)
	y, _ := issue(t, b, "y", time.Hour)
	check("x", x, nil)
	if err := operator.RevokeLabel(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	check("x, before the list is mounted", x, nil)
	if info, err := os.Stat(edited); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("others may not read the list any more: %v, %v", info.Mode(), err)
	}
	mount(0o644)
	check("x, by its label", x, ErrRevoked)
	if err := b.Good(token); !errors.Is(err, ErrRevoked) {
		t.Errorf("x, admitted before: %v", err)
	}
	check("y", y, nil)
	if _, _, err := b.IssueFor(t.Context(), "x", token.Issued, token.Expires, time.Hour); !errors.Is(err, ErrRevoked) {
		t.Errorf("a proof from before: %v", err)
	}

	for what, spoil := range map[string]func() error{
		"others may write it": func() error { return os.Chmod(filepath.Join(dir, fmt.Sprint("..", generation)), 0o666) },
		"it is cut off":       func() error { return os.Truncate(filepath.Join(dir, fmt.Sprint("..", generation)), 5) },
		"it is empty":         func() error { return os.Truncate(filepath.Join(dir, fmt.Sprint("..", generation)), 0) },
		"it is gone":          func() error { return os.Remove(mounted) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		c.advance(2 * time.Second)
		check("y while "+what, y, ErrUnread)
		if a.Readable() == nil {
			t.Errorf("%s, and it can be read", what)
		}
		mount(0o644)
		check("y, after "+what, y, nil)
	}

	// A list that somebody wrote by hand revokes what it seems to, or is none.
	for _, text := range []string{
		"null", "{}", `[{}]`, `[{"id": "X"}]`, `[{"label": "x", "until": "2100-01-01T00:00:00Z"}]`, `[{"token": "X", "until": "2100-01-01T00:00:00Z"}]`, `[null]`,
	} {
		if err := os.WriteFile(edited, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		mount(0o600)
		check(text, y, ErrUnread)
	}
	if err := a.RevokeAll(t.Context()); err == nil || !strings.Contains(err.Error(), "put another key there") {
		t.Errorf("all of a key that others share: %v", err)
	}
}

// TestListIsGone: a list that goes away while the proxy runs gives no revoked token back.
func TestListIsGone(t *testing.T) {
	t.Parallel()
	c := newClock()
	tokens := Open(t.TempDir(), c.now, func(error) {})
	s, token := issue(t, tokens, "a", 20*time.Hour)
	if err := tokens.RevokeToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	check := func(what string, want error) {
		t.Helper()
		for range 3 {
			c.advance(3 * time.Second)
			if _, err := tokens.Check(s); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
	}
	check("revoked", ErrRevoked)
	raw, err := os.ReadFile(tokens.listPath())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(tokens.listPath()); err != nil {
		t.Fatal(err)
	}
	check("the list is gone", ErrUnread)
	if err := os.WriteFile(tokens.listPath(), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	check("it is back", ErrRevoked)
	if err := os.Remove(tokens.listPath()); err != nil {
		t.Fatal(err)
	}
	check("it is gone again", ErrUnread)
	if err := Open(tokens.dir, c.now, func(error) {}).RevokeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("all were ended", ErrForeign)
	s, _ = issue(t, tokens, "a", 20*time.Hour)
	check("a new one", nil)
}

// TestRevokeWhileGone changes tokens by another process while the list is gone. That gives no
// revoked token back, and makes no list that lacks what was revoked.
func TestRevokeWhileGone(t *testing.T) {
	t.Parallel()
	c, ctx := newClock(), t.Context()
	tokens := Open(t.TempDir(), c.now, func(error) {})
	commands := func() *Tokens { return Open(tokens.dir, c.now, func(error) {}) }
	s, token := issue(t, tokens, "a", 20*time.Hour)
	_, other := issue(t, tokens, "b", 20*time.Hour)
	check := func(what string, want error) {
		t.Helper()
		c.advance(3 * time.Second)
		for name, process := range map[string]*Tokens{"that was running": tokens, "that has begun since": commands()} {
			if _, err := process.Check(s); !errors.Is(err, want) {
				t.Errorf("%s, a process %s: %v, want %v", what, name, err, want)
			}
		}
	}
	if err := os.Remove(tokens.listPath()); err != nil { // the empty one that came with the key
		t.Fatal(err)
	}
	check("the first list is gone", ErrUnread)
	if err := os.WriteFile(tokens.listPath(), []byte("[]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	check("it is back", nil)
	if err := commands().RevokeToken(ctx, token); err != nil {
		t.Fatal(err)
	}
	check("revoked", ErrRevoked)
	if err := os.Remove(tokens.listPath()); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(*Tokens) error{
		"a token is revoked": func(tokens *Tokens) error { return tokens.RevokeToken(ctx, other) },
		"an ID is revoked":   func(tokens *Tokens) error { return tokens.RevokeID(ctx, other.ID) },
		"a label is revoked": func(tokens *Tokens) error { return tokens.RevokeLabel(ctx, "b") },
		"one is issued":      func(tokens *Tokens) error { _, _, err := tokens.Issue(ctx, "b", time.Hour); return err },
	} {
		err := change(commands())
		want := "is gone; put it back; or if none was ever revoked, make an empty one: (umask 077; echo [] > " + tokens.listPath() + "); or to end all tokens run: agentproxy token revoke --all"
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", what, err, want)
		}
		check(what, ErrUnread)
	}
	if err := commands().Readable(); err == nil {
		t.Error("it can be read")
	}
	if err := commands().RevokeAll(ctx); err != nil {
		t.Fatal(err)
	}
	check("all were ended", ErrForeign)
}

// TestListForgets replaces the list by one that lacks what was revoked. A running process goes
// on to know it, until another key ends all tokens.
func TestListForgets(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key, shared := filepath.Join(dir, "key"), filepath.Join(dir, "shared.json")
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(key, strings.Repeat("0f", keyBytes))
	write(shared, "[]")
	for name, share := range map[string]func(*Tokens) *Tokens{
		"its own list":               func(tokens *Tokens) *Tokens { return tokens },
		"a shared key, its own list": func(tokens *Tokens) *Tokens { return tokens.Shared(key, "") },
		"a shared list":              func(tokens *Tokens) *Tokens { return tokens.Shared(key, shared) },
	} {
		c, dir := newClock(), t.TempDir()
		open := func() *Tokens { return share(Open(dir, c.now, func(error) {})) }
		serving, commands := open(), open()
		byID, token := issue(t, commands, "a", 20*time.Hour)
		byLabel, _ := issue(t, commands, "b", 20*time.Hour)
		if err := errors.Join(commands.RevokeToken(t.Context(), token), commands.RevokeLabel(t.Context(), "b")); err != nil {
			t.Fatal(err)
		}
		check := func(what string, want error) {
			t.Helper()
			c.advance(3 * time.Second)
			for _, s := range []string{byID, byLabel} {
				if _, err := serving.Check(s); !errors.Is(err, want) {
					t.Errorf("%s, %s: %v, want %v", name, what, err, want)
				}
			}
		}
		check("revoked", ErrRevoked)
		write(serving.listPath(), "[]")
		check("it is empty", ErrRevoked)
		write(serving.listPath(), "{")
		check("it is none", ErrUnread)
		write(serving.listPath(), `[{"id": "X", "until": "2100-01-01T00:00:00Z"}]`)
		check("it has another token", ErrRevoked)
		if _, _, err := serving.IssueFor(t.Context(), "b", c.now().Add(-time.Hour), c.now().Add(time.Hour), time.Hour); !errors.Is(err, ErrRevoked) {
			t.Errorf("%s, a proof from before it was revoked: %v", name, err)
		}
		next, _ := issue(t, commands, "b", 40*time.Hour)
		c.advance(3 * time.Second)
		if _, err := serving.Check(next); err != nil {
			t.Errorf("%s, the label's next token: %v", name, err)
		}
		c.advance(21 * time.Hour)
		check("they have ended", ErrExpired)
		if err := serving.Good(token); !errors.Is(err, ErrExpired) {
			t.Errorf("%s, admitted before: %v", name, err)
		}
	}
}

// TestKnownIsBounded has a process know as much as it may of lists that lack it by now. One
// more is too many, until those that it knows have ended.
func TestKnownIsBounded(t *testing.T) {
	t.Parallel()
	c := newClock()
	var told error
	tokens := Open(t.TempDir(), c.now, func(err error) { told = err })
	s, _ := issue(t, tokens, "a", 20*time.Hour)
	if _, err := tokens.Check(s); err != nil {
		t.Fatal(err)
	}
	for i := range maxKnown - 1 {
		tokens.revoked.ids[fmt.Sprint(i)] = c.now().Add(time.Hour)
	}
	check := func(entries string, want error) {
		t.Helper()
		if err := os.WriteFile(tokens.listPath(), []byte("["+entries+"]"), 0o600); err != nil {
			t.Fatal(err)
		}
		c.advance(3 * time.Second)
		if _, err := tokens.Check(s); !errors.Is(err, want) {
			t.Errorf("%d are known: %v, want %v", tokens.revoked.len(), err, want)
		}
	}
	const last, more = `{"id": "X", "until": "2100-01-01T00:00:00Z"}`, `,{"label": "x", "before": "2020-01-01T00:00:00Z", "until": "2100-01-01T00:00:00Z"}`
	check(last, nil)
	check(last+more, ErrUnread)
	if told == nil || !strings.Contains(told.Error(), "restart, or to end all tokens run: agentproxy token revoke --all") {
		t.Errorf("told %v", told)
	}
	c.advance(time.Hour)
	check(last+more, nil)
	if n := tokens.revoked.len(); n != 2 {
		t.Errorf("%d are known", n)
	}
}
