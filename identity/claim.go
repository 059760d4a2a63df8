//go:build !windows

package identity

import (
	"context"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// claim keeps others from reading auth.json, where the system can do that: whoever
// opens it waits until the claim is released, and then reads what was written
// meanwhile. Codex takes no lock before it asks for other tokens, but it reads.
type claim struct {
	home  *Home
	f     *os.File
	lease *lease
}

// claim returns a claim on auth.json, nil where there is none to be had: somebody has
// the file open, it is not this user's, or the system knows no leases.
func (h *Home) claim() *claim {
	f, err := os.OpenFile(h.target(), os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	c := &claim{h, f, takeLease(f)}
	if c.lease == nil || !isAt(f, h.target()) {
		c.lease.release()
		f.Close()
		return nil
	}
	h.claimed.Store(true) // or our own reading would wait
	return c
}

// release lets everybody go on. It may be called again, and on nil.
func (c *claim) release() {
	if c == nil || c.lease == nil {
		return
	}
	c.home.claimed.Store(false)
	c.lease.release()
	c.f.Close()
	c.lease = nil
}

// claimInterval is how often is looked whether somebody waits.
const claimInterval = 10 * time.Millisecond

// wanted reports whether somebody comes to wait for the file within d.
func (c *claim) wanted(ctx context.Context, d time.Duration) bool {
	for end := time.Now().Add(d); ; {
		if c.lease.wanted() {
			return true
		}
		if !time.Now().Before(end) || c.home.wait(ctx, claimInterval) != nil {
			return false
		}
	}
}

// update replaces the file by what edit makes of it, under Codex's locks, which must
// be free. Who waits for the former file reads the same. A file that cannot be replaced
// is written in place.
func (c *claim) update(ctx context.Context, edit func(raw []byte, auth *Auth) ([]byte, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*claimInterval) // who holds them may wait for us
	defer cancel()
	unlock, err := c.home.lockAsCodex(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	path := c.home.target()
	raw, err := readAt(c.f)
	if err != nil || !isAt(c.f, path) {
		return errChanged
	}
	auth, err := parseAuth(path, raw)
	if err != nil {
		return err
	}
	edited, err := edit(raw, auth)
	if err != nil || edited == nil {
		return err
	}
	if c.home.inPlace {
		return overwrite(c.f, edited)
	}
	info, err := c.f.Stat()
	if err != nil {
		return err
	}
	err = replaceFile(path, edited, info.Mode().Perm()&0o600, func(f *os.File) error { return chownLike(f, info) }, func(*os.File) error { return nil })
	switch {
	case err == nil && c.lease.wanted():
		return overwrite(c.f, edited)
	case !cannotReplace(err):
		return err
	case !isAt(c.f, path):
		return errChanged
	}
	return overwrite(c.f, edited)
}

// chownLike gives a file to the owner of another.
func chownLike(f *os.File, info fs.FileInfo) error {
	if owner, ok := info.Sys().(*syscall.Stat_t); ok && int(owner.Uid) != os.Geteuid() {
		return f.Chown(int(owner.Uid), int(owner.Gid))
	}
	return nil
}
