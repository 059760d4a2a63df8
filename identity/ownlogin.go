package identity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// keyringMark is the file of a home whose log-in [Home.Put] has put into the
// keyring. It is empty.
const keyringMark = "keyring"

// HoldsLogin reports whether [Agent.LogIn] has put a log-in into the home at dir. It
// does not ask a keyring. What cannot be looked at counts as one.
func HoldsLogin(dir string) bool {
	for _, name := range []string{"auth.json", keyringMark} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return true
		}
	}
	return false
}

// LogIn keeps raw, the auth.json of a new log-in, in the agent's home, or in the
// keyring, and revokes the one that was there. The home must be agentproxy's own,
// and have a keyring ([Home.WithKeyring]) if inKeyring is set. An error of the
// revocation is told to Notify.
func (a *Agent) LogIn(ctx context.Context, raw []byte, inKeyring bool) error {
	former, err := a.replaceLogin(ctx, raw, inKeyring)
	if err != nil || former == "" {
		return err
	}
	if err := a.config.Backend.Revoke(ctx, former); err != nil {
		a.config.Notify(Event{Message: "the log-in was replaced, and the one before is not revoked", Err: err})
	}
	return nil
}

// replaceLogin returns the refresh token that raw has taken the place of, "" if it
// is none.
func (a *Agent) replaceLogin(ctx context.Context, raw []byte, inKeyring bool) (former Secret, err error) {
	auth, err := ParseAuth(raw)
	if err != nil {
		return "", err
	}
	home := a.config.Home
	if err := os.MkdirAll(home.Dir(), 0o700); err != nil {
		return "", fmt.Errorf("keep the log-in: %w", err)
	}
	unlock, err := home.Lock(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	// What cannot be understood can be revoked by nobody.
	if refresh, err := a.tokens.newestRefresh(ctx); err == nil && refresh != auth.Tokens.RefreshToken {
		former = refresh
	}
	if err := home.put(ctx, raw, inKeyring); err != nil {
		return "", fmt.Errorf("keep the log-in: %w", err)
	}
	return former, nil
}

// LogOut revokes the log-in in the agent's home, which must be agentproxy's own, and
// removes it. A log-in that cannot be revoked stays, unless force is set. The error
// wraps [ErrNoLogin] if there is none.
func (a *Agent) LogOut(ctx context.Context, force bool) error {
	home := a.config.Home
	unlock, err := home.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	refresh, err := a.tokens.newestRefresh(ctx)
	if errors.Is(err, ErrNoLogin) && !HoldsLogin(home.Dir()) {
		return err
	}
	if err == nil && refresh != "" {
		err = a.config.Backend.Revoke(ctx, refresh)
	}
	if err != nil && !force {
		return fmt.Errorf("the log-in is not revoked and stays: %w; try again, or --force removes it here, and leaves it good elsewhere", err)
	}
	if a.tokens.path != "" {
		// It holds tokens too.
		if err := os.Remove(a.tokens.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the log-in: %w", err)
		}
	}
	if err := home.remove(ctx); err != nil {
		return fmt.Errorf("remove the log-in: %w", err)
	}
	return nil
}

// newestRefresh returns the refresh token that is good now: that of the journal where
// the file is behind. The caller holds the lock of the home.
func (t *tokens) newestRefresh(ctx context.Context) (Secret, error) {
	t.loadJournal()
	view, err := t.view(ctx)
	if err != nil {
		return "", err
	}
	return view.auth.Tokens.RefreshToken, nil
}

// put makes raw the log-in, whatever was there, under Codex's locks. The caller holds
// the lock.
func (h *Home) put(ctx context.Context, raw []byte, inKeyring bool) error {
	unlock, err := h.lockAsCodex(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	mark := filepath.Join(h.dir, keyringMark)
	if !inKeyring {
		if err := WriteFile(h.Path(), raw, 0o600); err != nil {
			return err
		}
		h.keyring.remove()
		return removeFile(mark)
	}
	if err := h.keyring.save(string(raw)); err != nil {
		return fmt.Errorf("%s: %w; unlock it, or set identity.store to state", keyringName(h.keyring.account), err)
	}
	if err := WriteFile(mark, nil, 0o600); err != nil {
		return err
	}
	return removeFile(h.Path())
}

// remove removes the log-in, under Codex's locks. The caller holds the lock.
func (h *Home) remove(ctx context.Context) error {
	unlock, err := h.lockAsCodex(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	h.keyring.remove()
	return errors.Join(removeFile(h.Path()), removeFile(filepath.Join(h.dir, keyringMark)))
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
