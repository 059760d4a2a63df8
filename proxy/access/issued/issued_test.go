package issued

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// clock tells a time that a test sets. It begins now, for the files' time stamps do.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Now()} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func issue(t *testing.T, from *Tokens, label string, ttl time.Duration) (string, *Token) {
	t.Helper()
	s, token, err := from.Issue(t.Context(), label, ttl)
	if err != nil {
		t.Fatal(err)
	}
	if !Looks(s) || len(s) > 300 || strings.ContainsAny(s, ":@/ ") {
		t.Errorf("the token %s cannot stand in a URL, or is long", s)
	}
	return s, token
}

func TestIssue(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), filepath.Join(t.TempDir(), "tokens")
	serving, commands := Open(dir, c.now, func(error) {}), Open(dir, c.now, func(error) {}) // two processes
	if _, err := serving.Check("eyJ.x.y"); !errors.Is(err, ErrForeign) {
		t.Errorf("before anything was issued: %v", err)
	}
	s, token := issue(t, commands, "build-42", 2*time.Hour)
	c.advance(2 * time.Second)
	got, err := serving.Check(s)
	if err != nil || *got != *token || got.Label != "build-42" || got.Expires.Sub(got.Issued) != 2*time.Hour {
		t.Fatalf("%+v, %v, want %+v", got, err, token)
	}
	if info, err := os.Stat(commands.keyPath()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key: %v, %v", info, err)
	}
	other, _ := issue(t, commands, "build-43", time.Hour)
	if again, err := serving.Check(other); err != nil || again.ID == got.ID {
		t.Errorf("%+v, %v", again, err)
	}
	c.advance(time.Hour)
	if err := serving.Good(got); err != nil {
		t.Errorf("after an hour: %v", err)
	}
	if _, err := serving.Check(other); !errors.Is(err, ErrExpired) {
		t.Errorf("expired: %v", err)
	}
	c.advance(time.Hour)
	if err := serving.Good(got); !errors.Is(err, ErrExpired) {
		t.Errorf("after two hours: %v", err)
	}
	for _, ttl := range []time.Duration{-time.Hour, 0, time.Second - 1, MaxTTL + 1} {
		if _, _, err := commands.Issue(t.Context(), "x", ttl); err == nil {
			t.Errorf("issued for %s", ttl)
		}
	}
}

// TestForged: whoever has a token makes no other of it.
func TestForged(t *testing.T) {
	t.Parallel()
	c := newClock()
	here, elsewhere := Open(t.TempDir(), c.now, func(error) {}), Open(t.TempDir(), c.now, func(error) {})
	s, _ := issue(t, here, "build-42", time.Hour)
	foreign, _ := issue(t, elsewhere, "build-42", time.Hour)
	key, err := here.readKey()
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(s, ".")
	decode := func(part string) map[string]any {
		raw, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	encode := func(v map[string]any, name string, value any) string {
		if v[name] = value; value == nil {
			delete(v, name)
		}
		raw, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	signed := func(method jwt.SigningMethod, key any, edit func(jwt.MapClaims)) string {
		claims := jwt.MapClaims(decode(parts[1]))
		edit(claims)
		s, err := jwt.NewWithClaims(method, claims).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	last := s[len(s)-1:]
	another := "A"
	if last == "A" {
		another = "B"
	}
	for name, forged := range map[string]string{
		"foreign":              foreign,
		"another label":        parts[0] + "." + encode(decode(parts[1]), "sub", "build-43") + "." + parts[2],
		"a later end":          parts[0] + "." + encode(decode(parts[1]), "exp", c.now().Add(24*time.Hour).Unix()) + "." + parts[2],
		"no algorithm":         encode(decode(parts[0]), "alg", "none") + "." + parts[1] + ".",
		"no signature":         parts[0] + "." + parts[1] + ".",
		"another algorithm":    encode(decode(parts[0]), "alg", "HS512") + "." + parts[1] + "." + parts[2],
		"another's signature":  parts[0] + "." + parts[1] + "." + strings.Split(foreign, ".")[2],
		"signed by HS384":      signed(jwt.SigningMethodHS384, key, func(jwt.MapClaims) {}),
		"without an end":       signed(jwt.SigningMethodHS256, key, func(c jwt.MapClaims) { delete(c, "exp") }),
		"of another issuer":    signed(jwt.SigningMethodHS256, key, func(c jwt.MapClaims) { c["iss"] = "x" }),
		"without an id":        signed(jwt.SigningMethodHS256, key, func(c jwt.MapClaims) { delete(c, "jti") }),
		"without a label":      signed(jwt.SigningMethodHS256, key, func(c jwt.MapClaims) { delete(c, "sub") }),
		"without a beginning":  signed(jwt.SigningMethodHS256, key, func(c jwt.MapClaims) { delete(c, "iat") }),
		"the key's hex digits": signed(jwt.SigningMethodHS256, []byte(fmt.Sprintf("%x", key)), func(jwt.MapClaims) {}),
		"an empty key":         signed(jwt.SigningMethodHS256, []byte{}, func(jwt.MapClaims) {}),
		"something appended":   s + "A",
		"the last character":   s[:len(s)-1] + another,
		"too long":             parts[0] + "." + strings.Repeat("A", maxToken) + "." + parts[2],
		"nothing":              "",
		"dots":                 "..",
	} {
		if token, err := here.Check(forged); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %+v, %v", name, token, err)
		}
	}
	if _, err := here.Check(s); err != nil {
		t.Errorf("the token itself: %v", err)
	}
	if _, err := here.Check(signed(jwt.SigningMethodHS256, key, func(jwt.MapClaims) {})); err != nil {
		t.Errorf("signed anew by the key: %v", err) // or the cases above prove nothing
	}
}

func TestRevoke(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	serving, commands := Open(dir, c.now, func(error) {}), Open(dir, c.now, func(error) {})
	check := func(name, s string, want error) {
		t.Helper()
		c.advance(interval)
		if _, err := serving.Check(s); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	ctx := t.Context()
	a, tokenA := issue(t, commands, "a", time.Hour)
	a2, tokenA2 := issue(t, commands, "a", time.Hour)
	b, _ := issue(t, commands, "b", time.Hour)
	check("a", a, nil)
	good, err := serving.Check(a)
	if err != nil {
		t.Fatal(err)
	}
	if err := commands.RevokeToken(ctx, tokenA); err != nil {
		t.Fatal(err)
	}
	check("a, revoked", a, ErrRevoked)
	if err := serving.Good(good); !errors.Is(err, ErrRevoked) {
		t.Errorf("a, admitted before: %v", err)
	}
	check("a2", a2, nil)
	if err := commands.RevokeID(ctx, tokenA2.ID); err != nil {
		t.Fatal(err)
	}
	check("a2, revoked by its id", a2, ErrRevoked)
	check("b", b, nil)

	// A label's tokens up to now, and not the next one.
	if err := commands.RevokeLabel(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	b2, _ := issue(t, commands, "b", time.Hour) // in the same second
	check("b, revoked by its label", b, ErrRevoked)
	check("the next b", b2, nil)
	ab, _ := issue(t, commands, "ab", time.Hour)
	check("a label that begins like it", ab, nil)

	// What would have ended anyway is forgotten.
	c.advance(2 * time.Hour)
	if err := commands.RevokeID(ctx, "x"); err != nil {
		t.Fatal(err)
	}
	_, revoked, err := commands.readAll()
	if err != nil || len(revoked) != 3 { // by an id alone and by a label it is not known how long they last
		t.Errorf("%d entries, %v", len(revoked), err)
	}

	b3, _ := issue(t, commands, "b", time.Hour)
	check("b3", b3, nil)
	if err := commands.RevokeAll(ctx); err != nil {
		t.Fatal(err)
	}
	check("b3, after all were revoked", b3, ErrForeign)
	b4, _ := issue(t, commands, "b", time.Hour)
	check("b4", b4, nil)
}

// TestRevokeTwiceInASecond: what was issued between two revocations of its label carries the
// next second (see Issue), and ends all the same.
func TestRevokeTwiceInASecond(t *testing.T) {
	t.Parallel()
	c := newClock()
	c.at = c.at.Truncate(time.Second).Add(100 * time.Millisecond)
	tokens := Open(t.TempDir(), c.now, func(error) {})
	issue(t, tokens, "a", time.Hour)
	var between []string
	for range 3 {
		if err := tokens.RevokeLabel(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		c.advance(100 * time.Millisecond)
		s, _ := issue(t, tokens, "a", time.Hour)
		between = append(between, s)
	}
	c.advance(10 * time.Minute)
	for i, s := range between {
		want := ErrRevoked
		if i == len(between)-1 {
			want = nil
		}
		if _, err := tokens.Check(s); !errors.Is(err, want) {
			t.Errorf("issued after revocation %d: %v, want %v", i+1, err, want)
		}
	}
}

// TestRevokeWithTheClockSetBack: a second revocation of a label, before the first by the
// clock, ends no fewer tokens.
func TestRevokeWithTheClockSetBack(t *testing.T) {
	t.Parallel()
	c := newClock()
	tokens := Open(t.TempDir(), c.now, func(error) {})
	s, _ := issue(t, tokens, "a", 20*time.Hour)
	for _, step := range []time.Duration{time.Hour, -2 * time.Hour} {
		c.advance(step)
		if err := tokens.RevokeLabel(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
	}
	c.advance(3 * time.Hour)
	if _, err := tokens.Check(s); !errors.Is(err, ErrRevoked) {
		t.Errorf("revoked twice: %v", err)
	}
}

func TestRevokedIsBounded(t *testing.T) {
	t.Parallel()
	c := newClock()
	tokens := Open(t.TempDir(), c.now, func(error) {})
	issue(t, tokens, "a", time.Hour)
	full := make(list, maxRevoked)
	for i := range full {
		full[i] = entry{ID: fmt.Sprint(i), Until: c.now().Add(time.Hour)}
	}
	raw, _ := json.Marshal(full)
	if err := os.WriteFile(tokens.listPath(), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	if len(raw) > maxFile {
		t.Errorf("a full list has %d bytes, and is too large to be read", len(raw))
	}
	if err := tokens.RevokeID(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "--all") {
		t.Errorf("%v", err)
	}
	c.advance(2 * time.Hour)
	if err := tokens.RevokeID(t.Context(), "x"); err != nil {
		t.Errorf("once they have ended: %v", err)
	}
}

// TestBrokenFiles: what cannot be read lets nobody in.
func TestBrokenFiles(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *Tokens) error{
		"a list that is none":    func(t *Tokens) error { return os.WriteFile(t.listPath(), []byte("{"), 0o600) },
		"a list for others":      func(t *Tokens) error { return os.Chmod(t.listPath(), 0o644) },
		"a list that is too big": func(t *Tokens) error { return os.WriteFile(t.listPath(), make([]byte, maxFile+1), 0o600) },
		"a key for others":       func(t *Tokens) error { return os.Chmod(t.keyPath(), 0o640) },
		"half a key":             func(t *Tokens) error { return os.Truncate(t.keyPath(), 10) },
		"a directory":            func(t *Tokens) error { return errors.Join(os.Remove(t.keyPath()), os.Mkdir(t.keyPath(), 0o700)) },
	} {
		c, told := newClock(), 0
		tokens := Open(t.TempDir(), c.now, func(err error) { told++ })
		s, _ := issue(t, tokens, "a", time.Hour)
		c.advance(2 * time.Second)
		good, err := tokens.Check(s)
		if err != nil {
			t.Fatal(err)
		}
		if err := spoil(tokens); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			c.advance(2 * time.Second)
			if _, err := tokens.Check(s); !errors.Is(err, ErrUnread) {
				t.Errorf("%s: %v", name, err)
			}
			if err := tokens.Good(good); !errors.Is(err, ErrUnread) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if told != 1 {
			t.Errorf("%s: told %d times", name, told)
		}
	}
}

// TestAtOnce has many processes issue and revoke at once.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	ctx := context.WithoutCancel(t.Context())
	var mu sync.Mutex
	var all []string
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			tokens := Open(dir, c.now, func(error) {})
			s, token, err := tokens.Issue(ctx, "a", time.Hour)
			if err == nil && i%2 == 0 {
				err = tokens.RevokeToken(ctx, token)
			}
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, s)
		})
	}
	wait.Wait()
	good := 0
	for _, s := range all {
		if _, err := Open(dir, c.now, func(error) {}).Check(s); err == nil {
			good++
		}
	}
	if good != 8 {
		t.Errorf("%d tokens are good, want 8", good)
	}
}

// TestSetBack: a clock that is set back gives no token back that has ended, unless it was far
// ahead.
func TestSetBack(t *testing.T) {
	t.Parallel()
	c, dir := newClock(), t.TempDir()
	tokens := Open(dir, c.now, func(err error) { t.Error(err) })
	s, token := issue(t, tokens, "a", 20*time.Minute)
	for _, step := range []struct {
		by   time.Duration
		want error
	}{
		{0, nil},
		{21 * time.Minute, ErrExpired},
		{-5 * time.Minute, ErrExpired},
		{-4 * time.Minute, ErrExpired},
		{5 * time.Minute, ErrExpired},
		{-5*time.Minute - maxSetBack, nil},
		{-time.Hour, nil},
	} {
		c.advance(step.by)
		if _, err := tokens.Check(s); !errors.Is(err, step.want) {
			t.Errorf("the clock moved by %s: %v, want %v", step.by, err, step.want)
		}
		if err := tokens.Good(token); !errors.Is(err, step.want) {
			t.Errorf("the clock moved by %s, admitted before: %v, want %v", step.by, err, step.want)
		}
	}
}

// TestIssueSetBack: what would be good for nothing, because the clock was set back, is not
// issued. A token that is good by both clocks was issued by the one that is right now, or those
// who revoke its label would miss it.
func TestIssueSetBack(t *testing.T) {
	t.Parallel()
	c := newClock()
	tokens := Open(t.TempDir(), c.now, func(err error) { t.Error(err) })
	issue(t, tokens, "a", time.Hour)
	c.advance(9 * time.Minute)
	issue(t, tokens, "a", time.Hour)
	c.advance(-9 * time.Minute)
	if _, _, err := tokens.IssueFor(t.Context(), "a", c.now(), c.now().Add(5*time.Minute), time.Hour); !errors.Is(err, ErrExpired) {
		t.Errorf("a token that has ended: %v", err)
	}
	s, token, err := tokens.IssueFor(t.Context(), "a", c.now(), c.now().Add(15*time.Minute), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Check(s); err != nil || token.Issued.After(c.now()) {
		t.Errorf("a token that has not: %v, issued %s, now it is %s", err, token.Issued, c.now())
	}
}

// FuzzCheck: nothing but what was issued is good.
func FuzzCheck(f *testing.F) {
	c := newClock()
	tokens := Open(f.TempDir(), c.now, func(error) {})
	s, _, err := tokens.Issue(f.Context(), "build-42", time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(s)
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, shown string) {
		if token, err := tokens.Check(shown); err == nil && shown != s {
			t.Errorf("%q is good: %+v", shown, token)
		}
	})
}
