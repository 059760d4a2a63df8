package netconn

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"time"
)

// Lobby is a [net.Listener] that accepts the connections of another one once something has come
// on them. A server has buffers and a large stack for each connection that it has accepted, and
// silent ones are the cheapest there are to an attacker.
type Lobby struct {
	listener net.Listener
	patience time.Duration
	ready    *Queue
	closed   chan struct{}
	all      sync.WaitGroup
	err      error // of the listener; is set before ready is closed

	mu      sync.Mutex
	waiting map[net.Conn]struct{} // nil: it is closed
}

// Quiet is a connection on which nothing has come yet. Those that a [Lobby]'s listener accepts
// wait if they are such.
type Quiet interface {
	net.Conn
	// Await waits until something has come, and reads nothing. The connection is closed if it
	// returns an error.
	Await() error
}

// NewLobby returns a lobby of l, where connections wait for patience at most. It must be closed,
// and then be waited for with [Lobby.Wait].
func NewLobby(l net.Listener, patience time.Duration) *Lobby {
	y := &Lobby{listener: l, patience: patience, ready: NewQueue(), closed: make(chan struct{}), waiting: make(map[net.Conn]struct{})}
	y.all.Go(y.receive)
	return y
}

// Accept implements [net.Listener]. It returns no error after which it can be called again.
func (y *Lobby) Accept() (net.Conn, error) {
	c, err := y.ready.Accept()
	if err != nil {
		return nil, y.err
	}
	return c, nil
}

// Close implements [net.Listener]. It closes the connections that wait.
func (y *Lobby) Close() error {
	y.mu.Lock()
	waiting := y.waiting
	y.waiting = nil
	y.mu.Unlock()
	if waiting == nil {
		return nil
	}
	close(y.closed)
	err := y.listener.Close()
	for c := range waiting {
		_ = c.Close()
	}
	return err
}

// Wait waits until nothing of a closed lobby is left.
func (y *Lobby) Wait() { y.all.Wait() }

// Addr implements [net.Listener].
func (y *Lobby) Addr() net.Addr { return y.listener.Addr() }

// maxAcceptDelay bounds the pause after an error that may be gone the next time.
const maxAcceptDelay = time.Second

// yieldAfter is after how many connections receive lets others run: where many connect at once, what
// was ready before is not to wait for all of them.
const yieldAfter = 16

// receive accepts connections until the listener fails. It pauses as [http.Server] does.
func (y *Lobby) receive() {
	defer y.ready.Close()
	delay, accepted := time.Duration(0), 0
	for {
		c, err := y.listener.Accept()
		if temporary, ok := errors.AsType[interface {
			error
			Temporary() bool
		}](err); ok && temporary.Temporary() {
			delay = min(max(2*delay, 5*time.Millisecond), maxAcceptDelay)
			select {
			case <-y.closed:
			case <-time.After(delay):
			}
			continue
		}
		if err != nil {
			y.err = err
			return
		}
		delay = 0
		y.all.Go(func() { y.admit(c) })
		if accepted++; accepted%yieldAfter == 0 {
			runtime.Gosched()
		}
	}
}

// admit hands a connection over when something has come.
func (y *Lobby) admit(c net.Conn) {
	if q, ok := c.(Quiet); ok && !y.await(q) || !y.ready.Push(c) {
		_ = c.Close()
	}
}

// await reports whether something has come.
func (y *Lobby) await(c Quiet) bool {
	y.mu.Lock()
	if y.waiting == nil {
		y.mu.Unlock()
		return false
	}
	y.waiting[c] = struct{}{}
	y.mu.Unlock()
	defer func() {
		y.mu.Lock()
		defer y.mu.Unlock()
		delete(y.waiting, c)
	}()
	_ = c.SetReadDeadline(time.Now().Add(y.patience))
	return c.Await() == nil
}
