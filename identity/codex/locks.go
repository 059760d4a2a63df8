package codex

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// lockAsCodex takes the locks that Codex 0.168 and later hold while they replace
// auth.json, in the same order: auth.lock in the Codex home, then auth.json.lock beside
// the file, links followed. Codex does not hold them while it asks for other tokens.
//
// A lock whose file cannot be made is left out. In such a home, which may be mounted
// read-only, Codex cannot write either.
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
