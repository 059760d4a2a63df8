package identity

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// LoginMark is the file beside a log-in of agentproxy's own, which says where that is
// kept. It is there as long as there is one, whatever becomes of auth.json, and
// changes when the log-in moves only.
const LoginMark = "kept-in"

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
	if errors.Is(err, ErrNoLogin) && !exists(home.Path()) && !exists(filepath.Join(home.Dir(), LoginMark)) {
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
	mark := filepath.Join(h.dir, LoginMark)
	if !inKeyring {
		if err := safefile.Write(h.Path(), raw, 0o600); err != nil {
			return err
		}
		h.keyring.remove()
		return safefile.Write(mark, []byte("state\n"), 0o600)
	}
	if err := h.keyring.save(string(raw)); err != nil {
		return fmt.Errorf("%s: %w; unlock it, or set identity.store to state", keyringName(h.keyring.account), err)
	}
	if err := removeFile(h.Path()); err != nil {
		return err
	}
	return safefile.Write(mark, []byte("keyring\n"), 0o600)
}

// remove removes the log-in, under Codex's locks. The caller holds the lock.
func (h *Home) remove(ctx context.Context) error {
	unlock, err := h.lockAsCodex(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	h.keyring.remove()
	return errors.Join(removeFile(h.Path()), removeFile(filepath.Join(h.dir, LoginMark)))
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// exists reports whether there is something at path. What cannot be looked at counts.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
