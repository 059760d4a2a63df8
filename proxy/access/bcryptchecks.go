package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// Limits on the comparisons with bcrypt hashes. They are slow on purpose, and anybody
// who reaches the proxy can cause them.
const (
	maxWaitingChecks = 64
	checkPatience    = 5 * time.Second
	maxVerified      = 4096
)

// errBusy is the error of a token that cannot be checked now.
var errBusy = errors.New("too many tokens are being checked")

// bcryptChecks compares tokens with bcrypt hashes, few at a time, and remembers those that
// fit, so that a client pays for the comparison once.
type bcryptChecks struct {
	compare func(hash, token []byte) error
	// slots bounds how many comparisons run; waiting counts who waits for one.
	slots   chan struct{}
	waiting atomic.Int64

	// key is the process's own, so that what is remembered tells nothing about
	// the tokens to whoever reads its memory later.
	key      [sha256.Size]byte
	mu       sync.Mutex
	verified map[[sha256.Size]byte]bool
}

func newBcryptChecks() *bcryptChecks {
	c := &bcryptChecks{
		compare: bcrypt.CompareHashAndPassword,
		// A quarter of the machine at most.
		slots:    make(chan struct{}, max(1, min(runtime.GOMAXPROCS(0), runtime.NumCPU())/4)),
		verified: make(map[[sha256.Size]byte]bool),
	}
	_, _ = rand.Read(c.key[:]) // never fails, by its documentation
	return c
}

// remembered reports whether token is known to fit hash.
func (c *bcryptChecks) remembered(hash []byte, token string) bool {
	sum := c.sum(hash, token)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verified[sum]
}

// sum returns the key under which a pair is remembered. A hash has no NUL in it.
func (c *bcryptChecks) sum(hash []byte, token string) (sum [sha256.Size]byte) {
	mac := hmac.New(sha256.New, c.key[:])
	mac.Write(hash)
	mac.Write([]byte{0})
	mac.Write([]byte(token))
	mac.Sum(sum[:0])
	return sum
}

// find returns the first of the candidates whose hash token fits. Every wrong token is
// compared the same number of times, with decoy if there are too few candidates.
func (c *bcryptChecks) find(ctx context.Context, candidates []hashedToken, token string, comparisons int, decoy []byte) (found hashedToken, ok bool, err error) {
	for _, h := range candidates {
		if c.remembered(h.hash, token) {
			return h, true, nil
		}
	}
	endTurn(ctx) // of those who wait their turn, nobody is to wait for this
	if err := c.acquire(ctx); err != nil {
		return hashedToken{}, false, err
	}
	defer func() { <-c.slots }()
	for _, h := range candidates {
		// Others may have asked for the same and been first.
		if c.remembered(h.hash, token) || c.compare(h.hash, []byte(token)) == nil {
			c.remember(h.hash, token)
			return h, true, nil
		}
	}
	for range comparisons - len(candidates) {
		_ = c.compare(decoy, []byte(token))
	}
	return hashedToken{}, false, nil
}

func (c *bcryptChecks) remember(hash []byte, token string) {
	sum := c.sum(hash, token)
	c.mu.Lock()
	defer c.mu.Unlock()
	for old := range c.verified {
		if len(c.verified) < maxVerified {
			break
		}
		delete(c.verified, old) // any; it is only compared once more
	}
	c.verified[sum] = true
}

// acquire waits for a slot. It returns errBusy if that takes long, or many others wait.
func (c *bcryptChecks) acquire(ctx context.Context) error {
	select {
	case c.slots <- struct{}{}:
		return nil
	default:
	}
	defer c.waiting.Add(-1)
	if c.waiting.Add(1) > maxWaitingChecks {
		return errBusy
	}
	timer := time.NewTimer(checkPatience)
	defer timer.Stop()
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return errBusy
}
