// Package issued makes and checks client tokens that end: each is signed, names one
// session label and the moment until which it is good, and can be revoked before.
//
// What is kept is the key that signs them and a list of those that were revoked, in a
// directory that belongs to the proxy. A list entry goes when the last token that it
// is about would have ended anyway. Where there is a key of its own, there is a list.
package issued

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

const (
	// MaxTTL is how long a token may be good.
	MaxTTL = 366 * 24 * time.Hour

	// issuer is who issues the tokens, by their claim.
	issuer = "agentproxy"
	// maxToken bounds a token, and maxFile the list of those that were revoked, in
	// bytes.
	maxToken = 1 << 10
	maxFile  = 4 << 20
	// interval is how often the files are looked at.
	interval = time.Second / 2
	// maxSetBack is by how much a clock may be set back without giving back what has ended. One
	// that is set back further was wrong before.
	maxSetBack = 10 * time.Minute
)

// Why a token lets nobody in. Errors of [Tokens.Check] wrap them.
var (
	ErrForeign = errors.New("the token was not issued here, or was altered")
	ErrExpired = errors.New("the token has expired")
	ErrRevoked = errors.New("the token has been revoked")
	// ErrUnread says that the key or the list cannot be read, so that no token is
	// good.
	ErrUnread = errors.New("client tokens cannot be checked at the moment")
)

// Token says what a token is good for. It is no secret.
type Token struct {
	// ID tells it from others.
	ID string
	// Label is the session label that it is for.
	Label string
	// Issued and Expires are in whole seconds.
	Issued, Expires time.Time

	key keyID
}

// keyID tells one key from another.
type keyID [8]byte

// Tokens issues and checks tokens. It is safe for concurrent use.
type Tokens struct {
	dir               string
	keyFile, listFile string // "" for those in dir
	now               func() time.Time
	tell              func(error)

	mu        sync.Mutex
	newest    time.Time // that the clock has told
	looked    time.Time
	seen      [2]fs.FileInfo // of key and list, nil where there is none
	read      time.Time
	key       []byte      // nil: nothing was issued yet
	revoked   revocations // all that the list has had in this process
	revokedOf keyID       // by which key what is revoked was issued
	failed    error       // why they cannot be read
	told      string
}

// Open returns the tokens that are issued by the key in dir, which need not be there
// before the first is. If the key cannot be read, tell is called once with the reason.
// It must not call the Tokens.
func Open(dir string, now func() time.Time, tell func(error)) *Tokens {
	return &Tokens{dir: dir, now: now, tell: tell}
}

// Shared returns t with the key, and the list of those that were revoked, in files that
// somebody else makes, "" for those in dir. Whoever has the same key issues tokens that are
// good here, and whoever changes the list ends them here. A list without a key is not used. It
// is called before t is used.
func (t *Tokens) Shared(key, list string) *Tokens {
	if t.keyFile = key; key != "" {
		t.listFile = list
	}
	return t
}

func (t *Tokens) keyPath() string  { return cmp.Or(t.keyFile, filepath.Join(t.dir, "key")) }
func (t *Tokens) listPath() string { return cmp.Or(t.listFile, filepath.Join(t.dir, "revoked.json")) }

// Readable returns why no token is good, nil if the key and the list can be read.
func (t *Tokens) Readable() error {
	_, _, err := t.readAll()
	return err
}

// Looks reports whether s has the form of a token of this package, whoever made it.
// Other tokens have not: they are one word, and this is three.
func Looks(s string) bool { return strings.HasPrefix(s, "eyJ") && strings.Count(s, ".") == 2 }

// Check returns what the token s is good for. The error says why it is good for
// nothing.
func (t *Tokens) Check(s string) (*Token, error) {
	key, now, err := t.current()
	if err != nil {
		return nil, err
	}
	if key == nil || len(s) > maxToken {
		return nil, ErrForeign
	}
	claims := new(jwt.RegisteredClaims)
	_, err = jwt.ParseWithClaims(s, claims, func(*jwt.Token) (any, error) { return key, nil },
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}),
		jwt.WithIssuer(issuer), jwt.WithExpirationRequired(), jwt.WithTimeFunc(func() time.Time { return now }), jwt.WithStrictDecoding())
	if errors.Is(err, jwt.ErrTokenExpired) {
		return nil, ErrExpired
	}
	if err != nil || claims.ID == "" || claims.Subject == "" || claims.IssuedAt == nil {
		return nil, ErrForeign
	}
	token := &Token{claims.ID, claims.Subject, claims.IssuedAt.Time, claims.ExpiresAt.Time, keyIDOf(key)}
	return token, t.Good(token)
}

// Good returns nil if a token that [Tokens.Check] has returned is still good, else
// why it is not.
func (t *Tokens) Good(token *Token) error {
	key, now, err := t.current()
	switch {
	case err != nil:
		return err
	case !now.Before(token.Expires):
		return ErrExpired
	case key == nil || keyIDOf(key) != token.key:
		return ErrForeign
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.revoked.has(token) {
		return ErrRevoked
	}
	return nil
}

// Refresh reads the key and the list of revoked tokens if they have changed, but not often.
// A [Tokens.Good] right after it reads nothing.
func (t *Tokens) Refresh() { _, _, _ = t.current() }

// current returns the key, nil if there is none, once what has changed was read, and the time
// that tokens are judged by.
func (t *Tokens) current() (key []byte, now time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now = t.now()
	if t.looked.IsZero() || now.Sub(t.looked).Abs() >= interval {
		t.looked = now
		t.refresh(now)
	}
	if t.failed != nil {
		return nil, now, ErrUnread
	}
	return t.key, t.latest(now), nil
}

// latest returns the newest time so far. The caller holds t.mu.
func (t *Tokens) latest(now time.Time) time.Time {
	now = now.Round(0) // the monotonic reading is never set back
	if back := t.newest.Sub(now); back <= 0 || back > maxSetBack {
		t.newest = now
	}
	return t.newest
}

// refresh reads the files if they have changed. The caller holds t.mu.
func (t *Tokens) refresh(now time.Time) {
	var seen [2]fs.FileInfo
	same := !t.read.IsZero()
	for i, path := range []string{t.keyPath(), t.listPath()} {
		info, err := os.Stat(path)
		if err == nil {
			seen[i] = info
		}
		same = same && safefile.Unchanged(t.seen[i], info, t.read)
	}
	if same && t.failed == nil {
		return
	}
	key, revoked, err := t.readAll()
	if err == nil && key != nil && t.seen[1] != nil && seen[1] == nil && keyIDOf(key) == t.revokedOf {
		err, seen[1] = t.listGone(), t.seen[1]
	}
	if err == nil {
		err = t.know(key, revoked, now)
	}
	t.failed, t.seen, t.read = err, seen, now
	if err == nil {
		t.told = ""
	} else if text := err.Error(); text != t.told {
		t.told = text
		t.tell(err)
	}
}

// know takes up a key and a list. What is known to be revoked stays so whatever becomes of the
// list, as long as the key is the same. The caller holds t.mu.
func (t *Tokens) know(key []byte, revoked list, now time.Time) error {
	if t.key = key; key == nil {
		return nil
	}
	if id := keyIDOf(key); id != t.revokedOf {
		t.revoked, t.revokedOf = list(nil).index(), id
	}
	t.revoked.forget(t.latest(now))
	t.revoked.add(revoked)
	if n := t.revoked.len(); n > maxKnown {
		return fmt.Errorf("%d revoked tokens are known, of which the list %s lacks too many; restart, or %s", n, t.listPath(), t.endAll())
	}
	return nil
}

func (t *Tokens) readAll() (key []byte, revoked list, err error) {
	if key, err = t.readKey(); key == nil || err != nil {
		return nil, nil, err
	}
	if revoked, err = t.readList(); err != nil {
		return nil, nil, err
	}
	return key, revoked, nil
}

// keyBytes is how long a key is (RFC 7518, section 3.2).
const keyBytes = 32

// readKey returns the key, nil if there is none.
func (t *Tokens) readKey() ([]byte, error) {
	raw, err := safefile.ReadPrivate(t.keyPath(), maxToken, safefile.BeyondOwner)
	if errors.Is(err, fs.ErrNotExist) && t.keyFile == "" {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of client tokens %s: %w", t.keyPath(), safefile.Cause(err))
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(raw)))
	if (err != nil || len(key) != keyBytes) && t.keyFile != "" {
		return nil, fmt.Errorf("%s is not a key of client tokens; make one with: openssl rand -hex %d", t.keyFile, keyBytes)
	}
	if err != nil || len(key) != keyBytes {
		return nil, fmt.Errorf("%s is not a key of client tokens; run: agentproxy token revoke --all, which makes one", t.keyPath())
	}
	return key, nil
}

// Issue returns a new token for a session label, and what it is good for. ttl is how
// long, more than a second and at most [MaxTTL].
func (t *Tokens) Issue(ctx context.Context, label string, ttl time.Duration) (string, *Token, error) {
	if ttl < time.Second || ttl > MaxTTL {
		return "", nil, fmt.Errorf("a token is good for a second at least and %d days at most", MaxTTL/24/time.Hour)
	}
	return t.issue(ctx, label, func(now time.Time, _ revocations) (time.Time, error) { return now.Add(ttl.Truncate(time.Second)), nil })
}

// IssueFor is [Tokens.Issue] for a client who has proved at a time that the label is its
// own. The token is good until another time, ttl at most. The error is ErrRevoked if the
// label's tokens have been revoked since the proof, and ErrExpired if no second is left.
func (t *Tokens) IssueFor(ctx context.Context, label string, proved, until time.Time, ttl time.Duration) (string, *Token, error) {
	return t.issue(ctx, label, func(now time.Time, revoked revocations) (time.Time, error) {
		end := now.Add(ttl)
		if until.Before(end) {
			end = until
		}
		switch end = end.Truncate(time.Second); {
		case revoked.ofLabel(label, proved):
			return end, ErrRevoked
		case !now.Before(end):
			return end, ErrExpired
		}
		return end, nil
	})
}

// issue issues a token that is good from now until the time that end returns.
func (t *Tokens) issue(ctx context.Context, label string, end func(now time.Time, revoked revocations) (time.Time, error)) (string, *Token, error) {
	unlock, err := t.lock(ctx)
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	key, revoked, err := t.readAll()
	if err == nil && key == nil {
		key, revoked, err = t.begin()
	}
	if err != nil {
		return "", nil, err
	}
	token, err := t.newToken(key, revoked, label, end)
	if err == nil {
		err = t.keepIssued(token.Issued)
	}
	if err != nil {
		return "", nil, err
	}
	signed, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.RegisteredClaims{
		ID: token.ID, Subject: label, Issuer: issuer,
		IssuedAt: jwt.NewNumericDate(token.Issued), ExpiresAt: jwt.NewNumericDate(token.Expires),
	}).SignedString(key)
	return signed, token, err
}

// newToken returns what a token that is issued now is good for, by a key and a list. The caller
// holds the lock of the directory.
func (t *Tokens) newToken(key []byte, revoked list, label string, end func(now time.Time, revoked revocations) (time.Time, error)) (*Token, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.know(key, revoked, t.now()); err != nil {
		return nil, err
	}
	// Not by the newest time so far: what another process revokes now is to be from before.
	now := t.now().Truncate(time.Second)
	until, err := end(now, t.revoked)
	if err == nil && !t.latest(t.now()).Before(until) {
		err = ErrExpired // the clock was set back, and it would be good for nothing
	}
	if err != nil {
		return nil, err
	}
	token := &Token{ID: rand.Text()[:16], Label: label, Issued: now, Expires: until, key: keyIDOf(key)}
	if before := t.revoked.labels[label].issued(); !now.After(before) {
		token.Issued = before.Truncate(time.Second).Add(time.Second) // it is revoked up to this second
	}
	return token, nil
}

// begin makes a key, and a list unless there is one. The list comes first: nothing is good by a
// key without one. The caller holds the lock.
func (t *Tokens) begin() (key []byte, revoked list, err error) {
	if revoked, err = t.readList(); err == nil && revoked == nil {
		err = t.writeList(list{})
	}
	if err == nil {
		key, err = t.newKey()
	}
	return key, revoked, err
}

// newKey makes a key. The caller holds the lock.
func (t *Tokens) newKey() ([]byte, error) {
	key := make([]byte, keyBytes)
	rand.Read(key)
	if err := safefile.WriteForOwner(t.keyPath(), []byte(hex.EncodeToString(key)+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("write the key of client tokens: %w", err)
	}
	return key, nil
}

// lock keeps other processes from changing the files in dir.
func (t *Tokens) lock(ctx context.Context) (unlock func(), err error) {
	_, missing := os.Lstat(t.dir)
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the directory of client tokens: %w", err)
	}
	if errors.Is(missing, fs.ErrNotExist) {
		safefile.GiveLike(t.dir, filepath.Dir(t.dir))
	}
	return lockLike(ctx, filepath.Join(t.dir, "lock"), t.dir)
}

// lockLike takes the lock on the file at path. If it makes that, root gives it to the owner of
// what is at like.
func lockLike(ctx context.Context, path, like string) (unlock func(), err error) {
	_, missing := os.Lstat(path)
	unlock, err = safefile.Lock(ctx, path)
	if err == nil && errors.Is(missing, fs.ErrNotExist) {
		safefile.GiveLike(path, like)
	}
	return unlock, err
}
