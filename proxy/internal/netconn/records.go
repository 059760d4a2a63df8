package netconn

import (
	"io"
	"sync"
)

const (
	recordHeader = 5 // bytes, of which the last two are the length (RFC 8446, section 5.1)
	// recordBeginning is how much is read at once where a record begins, in bytes. Events and
	// handshakes have less.
	recordBeginning = 2 << 10
	// recordsBulk is how much has to come without a pause, in bytes, to count as bulk.
	recordsBulk = 256 << 10
)

// Records keeps reads for crypto/tls from going beyond the end of a large record. Otherwise
// crypto/tls would have a buffer twice as large as a record, when the beginning of the next one
// comes with it, and keep it as long as the connection lasts. Bulk is worth that, for it spares a
// read of each record. The zero value is at the beginning of a record. It is safe for concurrent
// use, for what a connection lingers for may be read while crypto/tls still reads.
type Records struct {
	mu     sync.Mutex // held while something is read, as that of [Socket] is
	header [recordHeader]byte
	have   int // of header
	left   int // bytes of the record
	read   int // bytes since a pause
}

// Read reads from r into p.
func (c *Records) Read(r io.Reader, p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.read >= recordsBulk:
	case c.left > 0:
		p = p[:min(c.left, len(p))]
	default:
		p = p[:min(recordBeginning, len(p))]
	}
	n, err := r.Read(p)
	if c.read += n; n < len(p) {
		c.read = 0
	}
	c.walk(p[:n])
	return n, err
}

// walk follows the records in what has come.
func (c *Records) walk(p []byte) {
	for len(p) > 0 {
		if c.left > 0 {
			n := min(c.left, len(p))
			c.left -= n
			p = p[n:]
			continue
		}
		n := copy(c.header[c.have:], p)
		c.have += n
		p = p[n:]
		if c.have == recordHeader {
			c.left, c.have = int(c.header[3])<<8|int(c.header[4]), 0
		}
	}
}
