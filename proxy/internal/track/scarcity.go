package track

import (
	"errors"
	"sync"
	"syscall"
	"time"
)

const (
	// scarceFor is how long descriptors count as scarce after there was none.
	scarceFor = 10 * time.Second
	// scarceWarnInterval is how often that is logged.
	scarceWarnInterval = time.Minute
)

// Scarcity remembers when the system had no descriptor for a client's connection.
type Scarcity struct {
	mu           sync.Mutex
	last, warned time.Time
}

// IsScarcity reports whether err says that there is no descriptor left, for this process or
// for all.
func IsScarcity(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// Note notes that there was none. It reports whether that is to be logged.
func (d *Scarcity) Note(now time.Time) (warn bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = now
	if warn = d.warned.IsZero() || now.Sub(d.warned) >= scarceWarnInterval; warn {
		d.warned = now
	}
	return warn
}

// Scarce reports whether there was none a moment ago.
func (d *Scarcity) Scarce(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.last.IsZero() && now.Sub(d.last) < scarceFor
}
