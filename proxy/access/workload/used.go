package workload

import (
	"crypto/sha256"
	"maps"
	"sync"
	"time"
)

// maxUsed bounds the tokens that are remembered. Each of them was signed by an issuer and
// stood for a label.
const maxUsed = 100_000

// Used remembers tokens that are taken once, until they have expired.
type Used struct {
	mu     sync.Mutex
	until  map[[sha256.Size]byte]time.Time
	pruned time.Time
}

// NewUsed returns a Used that remembers none.
func NewUsed() *Used { return &Used{until: make(map[[sha256.Size]byte]time.Time)} }

// take takes a token of an issuer, which is told by its claim jti (RFC 7519, section 4.1.7).
func (u *Used) take(issuer string, claims map[string]any, expires, now time.Time) *Error {
	id, _ := claims["jti"].(string)
	if id == "" {
		return refusef(BadClaims, "the token has no id (jti), so it is not known whether it was used before; leave out single_use for this issuer")
	}
	key := sha256.Sum256([]byte(issuer + "\x00" + id))
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, taken := u.until[key]; taken {
		return refusef(Replayed, "the token was used before; get another from the platform")
	}
	if len(u.until) >= maxUsed && now.Sub(u.pruned).Abs() > time.Second {
		u.pruned = now
		maps.DeleteFunc(u.until, func(_ [sha256.Size]byte, until time.Time) bool { return !now.Before(until) })
	}
	if len(u.until) >= maxUsed {
		return &Error{Code: Unavailable, Message: "too many tokens were exchanged a short while ago; try again later", RetryAfter: time.Minute}
	}
	u.until[key] = expires
	return nil
}
