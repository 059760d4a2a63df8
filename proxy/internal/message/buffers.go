package message

import (
	"sync"
)

// Buffers is a pool of the buffers that bodies are copied through.
type Buffers struct{ usual, bulk sync.Pool }

// The sizes of buffers.
const (
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

// Larger exchanges a buffer for a larger one, if there is a larger size.
func (p *Buffers) Larger(b []byte) []byte {
	if len(b) == bulkSize {
		return b
	}
	p.Put(b)
	if b, ok := p.bulk.Get().(*[bulkSize]byte); ok {
		return b[:]
	}
	return make([]byte, bulkSize)
}

// Put implements [httputil.BufferPool].
func (p *Buffers) Put(b []byte) {
	if len(b) == bulkSize {
		p.bulk.Put((*[bulkSize]byte)(b))
		return
	}
	p.usual.Put((*[bufferSize]byte)(b))
}
