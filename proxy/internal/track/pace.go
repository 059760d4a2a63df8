package track

import (
	"sync"
	"time"
)

const (
	// paceRate is how much work in a second is usual for a connection, in bytes that come.
	paceRate = 1 << 20
	// paceBurst is how much of it may come at once.
	paceBurst = 64 << 10
)

// Pace tells a connection on which much comes from the others. The zero value has seen nothing.
type Pace struct {
	mu    sync.Mutex
	spent leak // bytes
}

// Spend counts n bytes, or work that takes as long, at a time. It reports whether the connection has
// come to do more than what is usual.
func (p *Pace) Spend(n int, now time.Time) (much bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.spent.add(float64(n), paceRate, 2*paceBurst, now) > paceBurst
}
