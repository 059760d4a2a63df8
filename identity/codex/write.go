package codex

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Lock keeps other processes of agentproxy from changing the log-in until unlock is
// called. Codex does not know this lock: [Home.Update] takes Codex's own.
//
// The lock is on the directory of auth.json. It needs no file of its own in Codex's home,
// and holds although the file is replaced meanwhile.
func (h *Home) Lock(ctx context.Context) (unlock func(), err error) {
	select {
	case h.writing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	release, err := h.lockFile(ctx)
	if err != nil {
		<-h.writing
		return nil, err
	}
	h.keyring.forget() // what it said before does not count any more
	return func() { release(); <-h.writing }, nil
}

func (h *Home) lockFile(ctx context.Context) (unlock func(), err error) {
	path := h.Target()
	if h.lockBeside {
		return safefile.Lock(ctx, path+".agentproxy.lock") // .lock is Codex's
	}
	unlock, err = safefile.LockExisting(ctx, filepath.Dir(path))
	if err != nil && ctx.Err() == nil && !errors.Is(err, fs.ErrNotExist) {
		unlock, err = safefile.LockExisting(ctx, path) // NFS has no locks on directories
	}
	if errors.Is(err, fs.ErrNotExist) {
		return func() {}, nil // there is nothing to be changed
	}
	return unlock, err
}

// Target returns the path of auth.json, links followed. When the file is replaced, a link
// stays a link.
func (h *Home) Target() string {
	if target, err := filepath.EvalSymlinks(h.Path()); err == nil {
		return target
	}
	return h.Path()
}

// Update replaces the content of auth.json by what edit returns, under Codex's locks. It
// calls edit with the content of a file that was understood. If edit returns nil, the file
// stays as it is. The caller holds the lock of [Home.Lock].
//
// If an older Codex changes the file while edit works, edit is called again.
func (h *Home) Update(ctx context.Context, edit func(raw []byte, auth *Auth) ([]byte, error)) error {
	unlock, err := h.lockAsCodex(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for {
		raw, auth, err := h.readWhole(ctx)
		if err != nil {
			return err
		}
		edited, err := edit(raw, auth)
		if err != nil || edited == nil || bytes.Equal(edited, raw) {
			return err
		}
		if _, err := ParseAuth(edited); err != nil {
			return fmt.Errorf("the edited file would be broken: %w", err)
		}
		if auth.InKeyring {
			return h.keyring.save(string(edited))
		}
		write := safefile.Replace
		if h.inPlace {
			write = safefile.Overwrite
		}
		if err := write(h.Target(), raw, edited); !errors.Is(err, safefile.ErrChanged) {
			return err
		}
		if err := h.wait(ctx, rereadInterval); err != nil {
			return err
		}
	}
}

// createTries bounds how often WriteIdentity starts again because a log-in came or went.
const createTries = 3

// WriteIdentity writes record, the JSON of [identity.Record.MarshalFor], into auth.json. If
// there is no such file, it makes one in which the identity is the log-in.
func (h *Home) WriteIdentity(ctx context.Context, record []byte) error {
	unlock, err := h.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	alone, err := withRecord([]byte(`{"auth_mode":"`+string(ModeAgentIdentity)+`","OPENAI_API_KEY":null}`), record)
	if err != nil {
		return err
	}
	for range createTries {
		err := h.Update(ctx, func(raw []byte, _ *Auth) ([]byte, error) { return withRecord(raw, record) })
		if !errors.Is(err, identity.ErrNoLogin) {
			return err
		}
		if err := h.create(ctx, alone); !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return fmt.Errorf("%s: it is there but cannot be read; it is left as it is", h.Path())
}

// create makes auth.json, under Codex's locks. If somebody has logged in meanwhile, the
// error wraps [fs.ErrExist]. The caller holds the lock of [Home.Lock].
func (h *Home) create(ctx context.Context, raw []byte) error {
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return fmt.Errorf("make the Codex home: %w", err)
	}
	unlock, err := h.lockAsCodex(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := safefile.Create(h.Path(), raw, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", h.Path(), err)
	}
	return nil
}

// readWhole returns the content of auth.json, and the content parsed. It waits for one
// that is being written.
func (h *Home) readWhole(ctx context.Context) ([]byte, *Auth, error) {
	for i := 0; ; i++ {
		auth, err := h.Load(ctx)
		if err != nil {
			return nil, nil, err
		}
		if auth.InKeyring {
			return []byte(h.keyring.load()), auth, nil
		}
		raw, err := safefile.Read(h.Path(), maxAuthBytes)
		if err == nil {
			if auth, err := parseAuth(h.Path(), raw); err == nil {
				return raw, auth, nil
			}
		}
		if i == rereadTimes {
			return nil, nil, fmt.Errorf("%s does not stay whole: something else keeps writing it", h.Path())
		}
		if err := h.wait(ctx, rereadInterval); err != nil {
			return nil, nil, err
		}
	}
}
