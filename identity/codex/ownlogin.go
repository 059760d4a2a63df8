package codex

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// LoginMark is the file beside a log-in of agentproxy's own, which says where that is
// kept. It is there as long as there is one, whatever becomes of auth.json, and
// changes when the log-in moves only.
const LoginMark = "kept-in"

// NewLogin returns the auth.json that Codex would write for the tokens of a log-in that
// was made at a moment. The id token must name the workspace.
func NewLogin(tokens identity.TokenSet, at time.Time) ([]byte, error) {
	claims, err := identity.ParseClaims(tokens.IDToken.Reveal())
	if err != nil {
		return nil, err
	}
	var o, t strictjson.Edit
	t.SetText("id_token", tokens.IDToken.Reveal())
	t.SetText("access_token", tokens.AccessToken.Reveal())
	t.SetText("refresh_token", tokens.RefreshToken.Reveal())
	t.SetText("account_id", claims.WorkspaceID)
	o.SetText("auth_mode", string(ModeChatGPT))
	o.Set("OPENAI_API_KEY", []byte("null"))
	o.Set("tokens", t.Compact())
	o.SetText("last_refresh", at.UTC().Format("2006-01-02T15:04:05.000000Z"))
	return o.Indented()
}

// Put makes raw, an auth.json, the log-in, whatever was there, under Codex's locks. The caller holds
// the lock.
func (h *Home) Put(ctx context.Context, raw []byte, inKeyring bool) error {
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

// Remove removes the log-in, under Codex's locks. The caller holds the lock.
func (h *Home) Remove(ctx context.Context) error {
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

// HoldsLogin reports whether [Home.Put] has put a log-in into h, or there is an
// auth.json. It does not ask a keyring.
func (h *Home) HoldsLogin() bool { return exists(h.Path()) || exists(filepath.Join(h.dir, LoginMark)) }

// exists reports whether there is something at path. What cannot be looked at counts.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
