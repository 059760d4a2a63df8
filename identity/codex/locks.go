package codex

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// lockAsCodex takes the locks of Codex 0.168 and later around the replacement of
// auth.json, in its order: auth.lock in the Codex home, then auth.json.lock beside
// the file, links followed. Codex holds them while it replaces the file, and not
// while it asks for other tokens.
//
// Where a lock's file cannot be made, as in a home that is mounted read-only, Codex
// cannot write either.
func (h *Home) lockAsCodex(ctx context.Context) (unlock func(), err error) {
	unlockAll := func() {}
	for _, path := range []string{filepath.Join(h.dir, "auth.lock"), h.Target() + ".lock"} {
		_, missing := os.Lstat(path)
		unlock, err := safefile.Lock(ctx, path)
		if err != nil && ctx.Err() != nil {
			unlockAll()
			return nil, err
		}
		if err != nil {
			continue
		}
		if errors.Is(missing, fs.ErrNotExist) {
			safefile.GiveLike(path, h.Target())
		}
		before := unlockAll
		unlockAll = func() { unlock(); before() }
	}
	return unlockAll, nil
}
