package usage

import "github.com/agentproxy/agentproxy/internal/contain"

// Gzip reads along server-sent events that are compressed with gzip (RFC 1952), as far as
// [maxMessage]. It must be made by [NewGzip] and closed. It may be closed while another
// goroutine calls Tap.
type Gzip struct {
	queue   queue // everything else is what it reads into
	events  *SSE
	inflate *inflater
}

// NewGzip returns a reader that calls report for each response that says what it
// used, and panicked if it panics, which ends the reading alone.
func NewGzip(report func(Tokens), panicked func(*contain.PanicError)) *Gzip {
	g := &Gzip{events: NewSSE(report, panicked)}
	g.inflate = newGunzipper(g.events.Tap)
	g.queue.read, g.queue.panicked = g.inflate.write, panicked
	return g
}

// Tap has p read, within [readDelay]. It does not keep p.
func (g *Gzip) Tap(p []byte) { g.queue.add(p) }

// Close reads what was not read yet, and ends the reading.
func (g *Gzip) Close() {
	g.queue.close()
	g.inflate.close()
}
