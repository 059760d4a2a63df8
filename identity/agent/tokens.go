package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent/retry"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// errRenewedTooOften says that a token is not refreshed so soon again. Otherwise a backend
// that refuses every token would cause a refresh for every request.
var errRenewedTooOften = errors.New("what the backend refused was renewed a moment ago")

const (
	// refreshMargin is how long before its expiry a token is refreshed, at most the last
	// fifth of its life. Codex does so 5 minutes before, and holds no lock while it asks:
	// the agent has to be well ahead.
	refreshMargin = 7 * time.Minute
	// commitInterval is how often the file is read while a Codex may be about to write it.
	commitInterval = 20 * time.Millisecond
	// keyringInterval is the same for a keyring, which is another process.
	keyringInterval = time.Second / 2
	// refreshAge is the age at which a token without an expiry is refreshed, as in
	// Codex.
	refreshAge = 8 * 24 * time.Hour
	// refreshPatience is how long a request waits for the refresh of a token that is
	// still good.
	refreshPatience = 3 * time.Second
	// writeBackTimeout bounds the wait for Codex to finish writing auth.json.
	writeBackTimeout = 2 * time.Second
)

// tokens keeps the access token of a log-in fresh. It is safe for concurrent use.
type tokens struct {
	home      *codex.Home
	loadLogin func(context.Context) (*codex.Auth, error)
	courtesy  time.Duration
	patience  time.Duration
	readOnly  bool // nothing is refreshed, and no file written
	workspace string
	backend   *backend.Client // nil: nothing is refreshed
	clock     *backend.Clock
	path      string // of the journal, "" keeps it in memory only
	notify    func(Event)

	flight     retry.Flight[*tokenView]
	refreshing retry.Backoff
	writing    retry.Backoff
	pace       retry.Cooldown

	mu       sync.Mutex
	journal  *journal
	inMemory bool // the journal is newer than its file
	loaded   bool
	last     *tokenView
	ended    *endedLogin
	warned   map[string]string // the last problem of each kind
}

// tokenView is the access token by one version of auth.json and the journal.
type tokenView struct {
	file  *codex.Auth // as it was read
	auth  *codex.Auth // with the tokens of the last refresh
	token identity.AccessToken
	// due is when the token is to be refreshed, and expiry when it ends. They are zero
	// if that is not known.
	due, expiry time.Time
	// behind says that the file does not hold these tokens yet.
	behind bool
}

// endedLogin notes that a refresh token is refused for good.
type endedLogin struct {
	file    *codex.Auth
	refresh identity.Secret
	err     error
}

// errEnded returns an error that says why a log-in has ended.
func errEnded(file *codex.Auth, reason string) error {
	return fmt.Errorf("%s: %w (%s); %s", file.Name(), identity.ErrLoginEnded, reason, file.Remedy())
}

func (v *tokenView) isDue(now time.Time) bool   { return !v.due.IsZero() && !now.Before(v.due) }
func (v *tokenView) expired(now time.Time) bool { return !v.expiry.IsZero() && !now.Before(v.expiry) }

func (v *tokenView) errExpired() error {
	return fmt.Errorf("%s: %w at %s; %s", v.file.Name(), identity.ErrTokenExpired, v.expiry.UTC().Format(time.RFC3339), v.file.Remedy())
}

// natural reports whether the token has become due or has expired since the last refresh.
// A token that was due from the start is no such case: the next one would be due too.
func (v *tokenView) natural(now time.Time) bool {
	since := v.auth.LastRefresh
	return v.expired(now) && v.expiry.After(since) || v.isDue(now) && v.due.After(since)
}

// current returns the access token, refreshed if its time has come.
func (t *tokens) current(ctx context.Context) (*tokenView, error) {
	view, err := t.view(ctx)
	if err != nil {
		return nil, err
	}
	now := t.clock.Backend()
	due := view.isDue(now)
	if !due && !view.behind {
		return view, nil
	}
	expired := view.expired(now)
	if err := t.hasEnded(view, view.auth.Tokens.RefreshToken); due && err != nil {
		if expired {
			return nil, fmt.Errorf("%w: %w", identity.ErrTokenExpired, err)
		}
		return view, nil // as long as it is good
	}
	if !expired {
		if due && t.refreshing.Waits(now, view.auth.Tokens.RefreshToken) || !due && t.writing.Waits(now, view.token.Value) {
			return view, nil
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, refreshPatience)
		defer cancel()
	}
	renewed, err := t.renew(ctx, view, false)
	switch {
	case err == nil:
		return renewed, nil
	case !expired:
		return view, nil // still good, and tried again later
	case errors.Is(err, errCannotRefresh):
		return nil, view.errExpired()
	}
	return nil, fmt.Errorf("%w: %w", identity.ErrTokenExpired, err)
}

// repair brings auth.json up to date if it holds tokens that are spent.
func (t *tokens) repair(ctx context.Context) {
	if view, err := t.view(ctx); err == nil && view.behind {
		_, _ = t.current(ctx) // what goes wrong is told
	}
}

// rejected returns the token to use after the backend has refused one: that of the file if
// it is another by now, else a refreshed one.
func (t *tokens) rejected(ctx context.Context, refused identity.Secret) (*tokenView, error) {
	view, err := t.view(ctx)
	if err != nil {
		return nil, err
	}
	if view.token.Value != refused {
		return t.current(ctx)
	}
	return t.renew(ctx, view, true)
}

// view returns the access token by auth.json and the journal. It sends no request.
func (t *tokens) view(ctx context.Context) (*tokenView, error) {
	file, err := t.loadLogin(ctx)
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	loaded := t.loaded
	t.mu.Unlock()
	if !loaded {
		t.loadJournal()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.last != nil && t.last.file == file {
		return t.last, nil
	}
	view, err := t.makeView(file)
	if err != nil {
		return nil, err
	}
	t.last = view
	return view, nil
}

// loadJournal reads the journal, which other processes may have written.
func (t *tokens) loadJournal() {
	j, err := readJournal(t.path)
	t.warnOnce("the record of the last refresh is not used", err)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.loaded, t.last = true, nil
	if j == nil || t.inMemory && !j.covers(identity.Secret(t.journal.RefreshToken)) {
		return
	}
	t.journal, t.inMemory = j, false
}

// warnOnce notifies of a problem once, until there is another or none.
func (t *tokens) warnOnce(message string, err error) {
	t.mu.Lock()
	if t.warned == nil {
		t.warned = make(map[string]string)
	}
	text := ""
	if err != nil {
		text = err.Error()
	}
	known := t.warned[message] == text
	t.warned[message] = text
	t.mu.Unlock()
	if err != nil && !known {
		t.notify(Event{Message: message, Err: err})
	}
}

func (t *tokens) makeView(file *codex.Auth) (*tokenView, error) {
	view := &tokenView{file: file, auth: file}
	if t.journal.replaces(file) {
		renewed, err := t.journal.apply(file)
		if err != nil {
			return nil, err
		}
		view.auth, view.behind = renewed, true
	}
	value, account, err := view.auth.Bearer(t.workspace)
	if err != nil {
		return nil, err
	}
	view.token = identity.AccessToken{Value: value, Account: account}
	if issued, expiry, ok := identity.TokenTimes(value.Reveal()); ok {
		margin := refreshMargin
		if life := expiry.Sub(issued); !issued.IsZero() && life > 0 {
			margin = min(margin, life/5)
		}
		view.expiry, view.due = expiry, expiry.Add(-margin)
	} else if !view.auth.LastRefresh.IsZero() {
		view.due = view.auth.LastRefresh.Add(refreshAge)
	}
	return view, nil
}

// errCannotRefresh says that there is nothing to refresh with.
var errCannotRefresh = errors.New("the token cannot be refreshed")

// renew refreshes the token of stale, which is due or was refused by the backend. It does
// so once for all callers.
func (t *tokens) renew(ctx context.Context, stale *tokenView, refused bool) (*tokenView, error) {
	if t.backend == nil || t.readOnly || stale.auth.Tokens.RefreshToken == "" {
		return nil, errCannotRefresh
	}
	key := fmt.Sprint(refused, tokenHash(stale.token.Value))
	return t.flight.Do(ctx, key, func(ctx context.Context) (*tokenView, error) {
		unlock, err := t.home.Lock(ctx)
		if err != nil {
			return nil, err
		}
		defer unlock()
		return t.renewLocked(ctx, stale, refused)
	})
}

func (t *tokens) renewLocked(ctx context.Context, stale *tokenView, refused bool) (*tokenView, error) {
	t.loadJournal() // another process may have been here first
	view, err := t.view(ctx)
	if err != nil {
		return nil, err
	}
	if view.auth.Tokens.RefreshToken == "" {
		return nil, errCannotRefresh
	}
	now := t.clock.Backend()
	another := view.token != stale.token
	if another && !view.expired(now) || !another && !refused && !view.isDue(now) {
		if view.behind && t.writing.Ready(now, view.token.Value) == nil {
			t.writeBack(ctx, nil)
		}
		return t.view(ctx)
	}
	refresh := view.auth.Tokens.RefreshToken
	if err := t.hasEnded(view, refresh); err != nil {
		return nil, err
	}
	// A token that is refused although it was just renewed has to wait, one of a new
	// log-in has not.
	paced := !view.natural(now) && t.renewedBefore(refresh)
	if paced && !t.pace.Ready(now) {
		return nil, errRenewedTooOften
	}
	if err := t.refreshing.Ready(now, refresh); err != nil {
		return nil, err
	}
	claim, faster := t.claim(ctx, view)
	if faster != nil {
		return faster, nil
	}
	defer claim.Release()
	answer, err := t.backend.Refresh(ctx, refresh)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil, err // nothing was sent
	}
	// What came for the token must not be lost because the agent is closed.
	open, ctx := ctx, context.WithoutCancel(ctx)
	t.refreshing.Done(t.clock.Backend(), refresh, err, backend.RetryAfter(err))
	if err != nil {
		claim.Release()
		if renewed, closed := t.byAnother(open, view, err); renewed != nil || closed != nil {
			return renewed, closed
		}
		return nil, t.refreshFailed(view, refresh, err)
	}
	if paced {
		t.pace.Count(now)
	}
	return t.keep(ctx, view, answer, claim)
}

// claimTries bounds how often another reader of auth.json is let go first.
const claimTries = 3

// claim keeps Codex from refreshing the log-in at the same time. It waits until no other
// process has auth.json open or waits for it, and makes later ones wait. If another program
// has refreshed the log-in meanwhile, it returns the new view and no claim.
func (t *tokens) claim(ctx context.Context, view *tokenView) (*codex.Claim, *tokenView) {
	if t.courtesy == 0 || view.file.InKeyring || view.file.Path != t.home.Path() {
		return nil, nil
	}
	for range claimTries {
		c := t.home.Claim()
		if c != nil && !c.Wanted(ctx, t.courtesy) {
			return c, nil
		}
		c.Release()
		// Another reader may refresh the log-in. If it does, it writes the file soon.
		if renewed, _ := t.awaitAnother(ctx, view, t.courtesy); renewed != nil {
			return nil, renewed
		}
	}
	return nil, nil
}

// byAnother returns the view after another program has refreshed the log-in of view, if a refusal
// is final. It waits for what is not written yet if the refusal says that one has. It returns nil
// if the file holds no other tokens. The error is that of ctx if it ended during the wait.
func (t *tokens) byAnother(ctx context.Context, view *tokenView, refusal error) (*tokenView, error) {
	answer, _ := errors.AsType[*backend.AnswerError](refusal)
	switch {
	case answer == nil || backend.RefreshEnd(refusal) == "":
		return nil, nil
	case answer.Code != "refresh_token_reused":
		return t.another(ctx, view), nil
	}
	return t.awaitAnother(ctx, view, t.patience)
}

// awaitAnother waits until another program has written other tokens than those of view, and
// returns the new view, nil if it does not. The error is that of ctx if it ends before.
func (t *tokens) awaitAnother(ctx context.Context, view *tokenView, patience time.Duration) (*tokenView, error) {
	interval := commitInterval
	if view.file.InKeyring {
		interval = keyringInterval
	}
	for range patience / interval {
		if renewed := t.another(ctx, view); renewed != nil {
			return renewed, nil
		}
		if err := retry.Sleep(ctx, interval); err != nil {
			return nil, err
		}
	}
	return t.another(ctx, view), nil
}

// another returns the view if it has other tokens than old, which are good, else nil. It looks
// even if ctx has ended.
func (t *tokens) another(ctx context.Context, old *tokenView) *tokenView {
	t.home.ForgetKeyring()
	view, err := t.view(context.WithoutCancel(ctx))
	if err == nil && view.auth.Tokens != nil && view.auth.Tokens.RefreshToken != old.auth.Tokens.RefreshToken && !view.expired(t.clock.Backend()) {
		return view
	}
	return nil
}

// renewedBefore reports whether a refresh token came from the last refresh.
func (t *tokens) renewedBefore(refresh identity.Secret) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.journal != nil && t.journal.RefreshToken == string(refresh)
}

func (t *tokens) hasEnded(view *tokenView, refresh identity.Secret) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil && t.ended.refresh == refresh && t.ended.file == view.file {
		return t.ended.err
	}
	if reason := t.journal.endOf(view.auth.Tokens); reason != "" {
		return errEnded(view.file, reason)
	}
	return nil
}

func (t *tokens) refreshFailed(view *tokenView, refresh identity.Secret, err error) error {
	reason := backend.RefreshEnd(err)
	if reason == "" {
		t.notify(Event{Message: "the access token was not refreshed", Err: err})
		return err
	}
	return t.end(view, refresh, reason)
}

// noteEnd writes the end of a log-in into the journal, so that no other process asks again.
func (t *tokens) noteEnd(view *tokenView, reason string) {
	t.mu.Lock()
	t.journal = t.journal.withEnd(view.auth.Tokens, reason)
	j := t.journal
	t.mu.Unlock()
	if !view.file.InKeyring {
		t.warnOnce("the end of the log-in is remembered in memory only", j.write(t.path))
	}
}

// end notes that a refresh token is refused for good, and returns the error that says why.
func (t *tokens) end(view *tokenView, refresh identity.Secret, reason string) error {
	t.noteEnd(view, reason)
	err := errEnded(view.file, reason)
	t.mu.Lock()
	t.ended = &endedLogin{view.file, refresh, err}
	t.mu.Unlock()
	t.notify(Event{Message: "the access token cannot be refreshed", Err: err})
	return err
}

// keep stores the answer to a refresh: first in the journal, then in auth.json.
func (t *tokens) keep(ctx context.Context, view *tokenView, answer identity.TokenSet, c *codex.Claim) (*tokenView, error) {
	if err := sameUser(view, answer); err != nil {
		return nil, t.end(view, view.auth.Tokens.RefreshToken, "its refresh token is spent: "+err.Error())
	}
	at := t.clock.Backend().UTC().Format("2006-01-02T15:04:05.000000Z")
	t.mu.Lock()
	j := t.journal.next(view.token.Account, *view.auth.Tokens, answer, at)
	t.journal, t.last, t.inMemory = j, nil, true
	t.mu.Unlock()
	// A log-in in the keyring was not meant for a file.
	if !view.file.InKeyring {
		err := j.write(t.path)
		t.mu.Lock()
		t.inMemory = err != nil
		t.mu.Unlock()
		t.warnOnce("the refresh is remembered in memory only", err)
	}
	t.writeBack(ctx, c)
	t.notify(Event{Message: "the access token was refreshed"})
	return t.view(ctx)
}

// sameUser returns an error if the tokens of answer are another user's.
func sameUser(view *tokenView, answer identity.TokenSet) error {
	if answer.IDToken == "" {
		return nil
	}
	claims, err := parseIDToken(answer.IDToken.Reveal())
	if err != nil {
		return err
	}
	was := view.auth.Tokens.Claims
	for _, same := range []struct{ what, was, is string }{
		{"user", was.UserID, claims.UserID}, {"workspace", was.WorkspaceID, claims.WorkspaceID},
	} {
		if same.was != "" && same.is != same.was {
			return fmt.Errorf("the answer is for %s %q, the log-in is of %q", same.what, same.is, same.was)
		}
	}
	return nil
}

// writeBack writes the journal's tokens into auth.json, if that still holds a token that
// they have replaced. If it cannot be written, the journal's tokens count. A claim, if there
// is one, is released.
func (t *tokens) writeBack(ctx context.Context, c *codex.Claim) {
	t.mu.Lock()
	j := t.journal
	t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, writeBackTimeout)
	defer cancel()
	edit := func(raw []byte, auth *codex.Auth) ([]byte, error) {
		if !j.replaces(auth) {
			return nil, nil // somebody has logged in anew
		}
		return codex.WithTokens(raw, j.tokens(), j.LastRefresh)
	}
	err := safefile.ErrChanged
	if c != nil {
		err = c.Update(ctx, edit)
		c.Release()
	}
	if err != nil {
		err = t.home.Update(ctx, edit)
	}
	t.writing.Done(t.clock.Backend(), identity.Secret(j.AccessToken), err, backend.RetryAfter(err))
	t.mu.Lock()
	t.last = nil
	t.mu.Unlock()
	t.warnOnce("the refreshed tokens are not in auth.json yet", err)
}
