//go:build !windows

package safefile

import (
	"bytes"
	"io"
	"os"
)

// Claim makes other programs wait that open a file, until the claim is released. They then
// read what was written meanwhile. Linux alone can do that.
type Claim struct {
	path  string
	f     *os.File
	lease *lease
}

// TakeClaim returns a claim on the file at path. It returns nil where there is none to
// be had: another process has the file open, it is not this user's, or the system
// knows no leases.
func TakeClaim(path string) *Claim {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	c := &Claim{path, f, takeLease(f)}
	if c.lease == nil || !isAt(f, path) {
		c.Release()
		return nil
	}
	return c
}

// Wanted reports whether another process waits to open the file.
func (c *Claim) Wanted() bool { return c.lease.wanted() }

// Read returns what the file holds, up to limit bytes. If another file has taken its
// place, the error is [ErrChanged].
func (c *Claim) Read(limit int64) ([]byte, error) {
	raw, err := io.ReadAll(io.NewSectionReader(c.f, 0, limit+1))
	if err != nil || int64(len(raw)) > limit || !isAt(c.f, c.path) {
		return nil, ErrChanged
	}
	return raw, nil
}

// Replace replaces the file by one of the same owner that holds data. Processes that
// wait for the former file read the same. A file that cannot be replaced is written in
// place.
func (c *Claim) Replace(data []byte) error {
	info, err := c.f.Stat()
	if err != nil {
		return err
	}
	err = placeFile(c.path, data, info.Mode().Perm()&0o600, func(f *os.File) error { return chownLike(f, info) }, nothing, os.Rename)
	switch {
	case err == nil && c.Wanted():
		return overwrite(c.f, data)
	case !cannotReplace(err):
		return err
	case !isAt(c.f, c.path):
		return ErrChanged
	}
	return overwrite(c.f, data)
}

// Overwrite writes data over what the file holds.
func (c *Claim) Overwrite(data []byte) error { return overwrite(c.f, data) }

// Release ends the claim, which must not be used any more.
func (c *Claim) Release() {
	c.lease.release()
	c.f.Close()
}

// holds reports whether f holds raw and nothing else.
func holds(f *os.File, raw []byte) bool {
	now, err := io.ReadAll(io.NewSectionReader(f, 0, int64(len(raw))+1))
	return err == nil && bytes.Equal(now, raw)
}

// isAt reports whether f is the file at path.
func isAt(f *os.File, path string) bool {
	a, errA := f.Stat()
	b, errB := os.Stat(path)
	return errA == nil && errB == nil && os.SameFile(a, b)
}
