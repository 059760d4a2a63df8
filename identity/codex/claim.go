package codex

import (
	"context"
	"time"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// Claim keeps other programs from opening auth.json, where the system can do that.
// Codex takes no lock before it asks for other tokens, but it reads the file.
type Claim struct {
	home *Home
	file *safefile.Claim
}

// Claim returns a claim on auth.json, nil where there is none to be had.
func (h *Home) Claim() *Claim {
	file := safefile.TakeClaim(h.Target())
	if file == nil {
		return nil
	}
	h.claimed.Store(true) // or our own reading would wait
	return &Claim{h, file}
}

// Release ends the claim. It may be called again, and on nil.
func (c *Claim) Release() {
	if c == nil || c.file == nil {
		return
	}
	c.home.claimed.Store(false)
	c.file.Release()
	c.file = nil
}

// claimInterval is how often the claim is asked whether another process waits.
const claimInterval = 10 * time.Millisecond

// Wanted reports whether another process waits for the file within d.
func (c *Claim) Wanted(ctx context.Context, d time.Duration) bool {
	for end := time.Now().Add(d); ; {
		if c.file.Wanted() {
			return true
		}
		if !time.Now().Before(end) || c.home.wait(ctx, claimInterval) != nil {
			return false
		}
	}
}

// Update replaces the content of the file by what edit returns, under Codex's locks, which
// must be free. Processes that wait for the former file read the new content.
func (c *Claim) Update(ctx context.Context, edit func(raw []byte, auth *Auth) ([]byte, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*claimInterval) // who holds them may wait for us
	defer cancel()
	unlock, err := c.home.lockAsCodex(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	raw, err := c.file.Read(maxAuthBytes)
	if err != nil {
		return err
	}
	auth, err := parseAuth(c.home.Target(), raw)
	if err != nil {
		return err
	}
	edited, err := edit(raw, auth)
	if err != nil || edited == nil {
		return err
	}
	if c.home.inPlace {
		return c.file.Overwrite(edited)
	}
	return c.file.Replace(edited)
}
