package proxy

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

// descriptors remember when the system had no descriptor for a client's connection.
type descriptors struct {
	mu           sync.Mutex
	last, warned time.Time
}

// isScarcity reports whether err says that there is no descriptor left, for this process or
// for all.
func isScarcity(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// note notes that there was none. It reports whether that is to be logged.
func (d *descriptors) note(now time.Time) (warn bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = now
	if warn = d.warned.IsZero() || now.Sub(d.warned) >= scarceWarnInterval; warn {
		d.warned = now
	}
	return warn
}

func (d *descriptors) scarce(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.last.IsZero() && now.Sub(d.last) < scarceFor
}

// OutOfDescriptors reports whether a client could not connect a moment ago because the
// system had no descriptor for it.
func (p *Proxy) OutOfDescriptors() bool { return p.descriptors.scarce(time.Now()) }
