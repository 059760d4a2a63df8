package usage

import (
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
)

const (
	// queueSize bounds the bytes that wait to be read, and half of it those that wait
	// long. As many are read meanwhile.
	queueSize = 4 << 10
	// readDelay bounds how long they wait. A server that sends an event each ten
	// milliseconds has sent a hundred of them.
	readDelay = time.Second
)

// queue has many small pieces of a stream read at once, behind the back of whoever
// adds them. What a reader has to touch, 45 kB of it, is out of the processor's caches
// when the next piece of the same stream comes along, and fetching it back takes longer
// than the reading. read must be set, and the queue be closed. It may be closed while
// another goroutine adds.
type queue struct {
	mu      sync.Mutex // over what follows but read; held for moments only
	wait    wait
	closed  bool
	pending []byte
	spare   []byte // takes what comes while pending is read
	timer   *time.Timer

	reading sync.Mutex // held by who reads, so that bytes are read in their order
	// read reads on, and reports whether it wants more. It does not keep p.
	read func(p []byte) bool
	// panicked is told of a panic of read, which ends the reading alone.
	panicked func(*contain.PanicError)
}

// wait says for what the timer of a queue is set.
type wait uint8

const (
	waitNot  wait = iota
	waitLong      // readDelay
	waitNone      // at once
)

// add adds p, or reads it if there is too much of it. It does not keep p.
func (q *queue) add(p []byte) {
	q.mu.Lock()
	added := len(q.pending)+len(p) <= queueSize
	if added && !q.closed {
		if q.pending == nil {
			q.pending = make([]byte, 0, queueSize)
		}
		q.pending = append(q.pending, p...)
		switch {
		case len(q.pending) > queueSize/2:
			q.set(waitNone, 0)
		case q.wait == waitNot:
			q.set(waitLong, readDelay)
		}
	}
	q.mu.Unlock()
	if !added {
		q.flush(p)
	}
}

func (q *queue) set(w wait, delay time.Duration) {
	switch {
	case q.wait == w:
		return
	case q.timer == nil:
		q.timer = time.AfterFunc(delay, func() { q.flush(nil) })
	default:
		q.timer.Reset(delay)
	}
	q.wait = w
}

// flush reads what is pending, and p.
func (q *queue) flush(p []byte) {
	q.reading.Lock()
	defer q.reading.Unlock()
	q.readAll(p)
}

// close reads what is pending, and has nothing read any more.
func (q *queue) close() {
	q.reading.Lock()
	defer q.reading.Unlock()
	q.readAll(nil)
	q.end()
}

// readAll is called with reading held.
func (q *queue) readAll(p []byte) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return
	}
	pending := q.pending
	q.pending, q.spare = q.spare, nil
	if q.wait == waitLong {
		q.timer.Stop()
	}
	q.wait = waitNot
	q.mu.Unlock()

	more, _ := contain.Call(q.panicked, func() (bool, error) { return q.read(pending) && q.read(p), nil })

	clear(pending)
	if !more {
		q.end()
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare = pending[:0]
}

func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.pending, q.spare = nil, nil
	if q.timer != nil {
		q.timer.Stop()
	}
}
