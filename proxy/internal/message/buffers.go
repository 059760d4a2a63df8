package message

import (
	"io"
	"sync"
)

// Buffers is a pool of the buffers that bodies are copied through.
type Buffers struct{ tiny, small, usual, bulk sync.Pool }

// The sizes of buffers.
const (
	tinySize   = 1 << 10   // for what comes in small events, on a socket
	smallSize  = 4 << 10   // for what comes in events
	bufferSize = 32 << 10  // that of io.Copy
	bulkSize   = 128 << 10 // for what comes faster
)

// MaxBuffer is the largest size of buffers, in bytes.
const MaxBuffer = bulkSize

// Get implements [httputil.BufferPool].
func (p *Buffers) Get() []byte {
	if b, ok := p.usual.Get().(*[bufferSize]byte); ok {
		return b[:]
	}
	return make([]byte, bufferSize)
}

// Small returns a buffer of the smallest size.
func (p *Buffers) Small() []byte {
	if b, ok := p.small.Get().(*[smallSize]byte); ok {
		return b[:]
	}
	return make([]byte, smallSize)
}

// Fit exchanges a buffer after n bytes have come in one piece: for the next larger one if they
// have filled it, or for a small one if they have filled less than half of that. So a stream
// holds little while little comes.
func (p *Buffers) Fit(b []byte, n int) []byte {
	switch {
	case n == len(b) && n == smallSize:
		p.Put(b)
		return p.Get()
	case n == len(b) && n == bufferSize:
		p.Put(b)
		return p.get(bulkSize)
	case n < smallSize/2 && len(b) > smallSize:
		p.Put(b)
		return p.Small()
	}
	return b
}

// Read reads from r into b, and gives b back while it waits if a read of nothing waits for r too:
// it does for a response's body over HTTP/2, of net/http.
func (p *Buffers) Read(b *[]byte, r io.Reader, waits bool) (int, error) {
	if waits {
		size := len(*b)
		p.Put(*b)
		*b = nil // or it would be held all the same
		_, err := r.Read(nil)
		if *b = p.get(size); err != nil {
			return 0, err
		}
	}
	return r.Read(*b)
}

// get returns a buffer of one of the sizes.
func (p *Buffers) get(size int) []byte {
	switch size {
	case tinySize:
		if b, ok := p.tiny.Get().(*[tinySize]byte); ok {
			return b[:]
		}
		return make([]byte, tinySize)
	case smallSize:
		return p.Small()
	case bufferSize:
		return p.Get()
	}
	if b, ok := p.bulk.Get().(*[bulkSize]byte); ok {
		return b[:]
	}
	return make([]byte, bulkSize)
}

// Put implements [httputil.BufferPool]. It ignores nil.
func (p *Buffers) Put(b []byte) {
	switch len(b) {
	case 0:
	case tinySize:
		p.tiny.Put((*[tinySize]byte)(b))
	case smallSize:
		p.small.Put((*[smallSize]byte)(b))
	case bufferSize:
		p.usual.Put((*[bufferSize]byte)(b))
	default:
		p.bulk.Put((*[bulkSize]byte)(b))
	}
}
