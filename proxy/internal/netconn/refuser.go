package netconn

import (
	"net"
	"slices"
	"sync"
	"time"
)

// Refuser answers connections that are not served.
type Refuser struct {
	Most    int           // connections that are waited for at a time
	Timeout time.Duration // in which one of them is to send a request, and to take the answer

	mu      sync.Mutex
	waiting []net.Conn // the longest first
}

// Refuse answers conn once something has come: many clients ignore an answer that comes before their
// request. If too many connections are waited for, the one that has been for longest is given up.
// The caller closes conn.
func (r *Refuser) Refuse(conn net.Conn, answer []byte) {
	_ = conn.SetDeadline(time.Now().Add(r.Timeout))
	r.enter(conn)
	defer r.leave(conn)
	if n, _ := conn.Read(make([]byte, 512)); n > 0 {
		Answer(conn, answer, func() {})
	}
}

func (r *Refuser) enter(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(r.waiting, conn)
	if len(r.waiting) > r.Most {
		_ = r.waiting[0].SetReadDeadline(time.Unix(1, 0))
		r.waiting = slices.Delete(r.waiting, 0, 1)
	}
}

func (r *Refuser) leave(conn net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if i := slices.Index(r.waiting, conn); i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	}
}

// Waiting returns how many connections are waited for.
func (r *Refuser) Waiting() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.waiting)
}
