package live

import (
	"math"
	"runtime/debug"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// Bounds say what exchanges may hold.
type Bounds struct {
	// Requests bounds the exchanges of a session label.
	Requests int
	// Bodies bounds what is held of requests to be sent again. More is not held.
	Bodies Share
	// Uploads bounds the buffers of the requests that have large bodies. Beyond it further ones
	// wait.
	Uploads Share
	// Unread bounds what is held of responses that are not read. Beyond it the ones
	// that wait longest are cut, and labels that have some get no more.
	Unread Share
	// Windows bounds what servers may send of all responses before the clients read. Beyond it
	// they may send less of each.
	Windows Share
	// Heads bounds the heads of the requests that run. Beyond it labels that have some
	// get no more.
	Heads Share
	// Strangers bounds the heads, in bytes, of clients that are not admitted yet.
	Strangers int64
}

// Share is memory, in bytes.
type Share struct {
	All   int64 // of all session labels
	Label int64 // of one
}

// DefaultMemory is what is divided in a process without a memory limit, in bytes.
const DefaultMemory = 1 << 30

// labelWindows is what servers may send to a label before it reads, in bytes, however much memory
// there is: it comes at once, and takes time of the processors.
const labelWindows = 8 << 20

// sharedWindows is what servers may send to a label before it reads, in bytes, on connections that
// others share: they would wait for it.
const sharedWindows = 2 << 20

// BoundsOf divides memory, in bytes; 0 is half of the memory limit of the process: what collects
// garbage takes the more of the processors' time the less of that limit is free. 7/16 of memory
// are left to the rest of the program. A label gets half of what all get.
func BoundsOf(memory int64, requests int) Bounds {
	if memory == 0 {
		memory = DefaultMemory
		if limit := debug.SetMemoryLimit(-1); limit < math.MaxInt64 { // -1 changes nothing
			memory = limit / 2
		}
	}
	share := func(n int64) Share { return Share{n, n / 2} }
	return Bounds{
		Requests:  requests,
		Unread:    share(memory / 4),
		Windows:   Share{memory / 4, min(memory/8, labelWindows)},
		Bodies:    share(memory / 8),
		Uploads:   share(memory / 16),
		Heads:     share(memory / 16),
		Strangers: memory / 16,
	}
}

// check refuses another exchange of a label whose head has so many bytes.
func (s *Set) check(l *label, head int64, b *Bounds) *refuse.Refusal {
	switch {
	case l.running >= b.Requests:
		return refuse.Busy("clients of the label %q have as many requests running as limits.requests_per_label allows, which is %d; wait for some to end, or raise it", l.name, b.Requests)
	case !s.roomForHead(l, head, b):
		return refuse.Busy("the headers of the requests that run take as much memory as there is for them; wait for some to end, or raise limits.memory")
	case l.unread >= b.Unread.Label, l.unread > 0 && s.unread >= b.Unread.All:
		return refuse.Busy("clients of the label %q do not read the responses that they have asked for, and these take as much memory as there is for them; read them, or raise limits.memory", l.name)
	}
	return nil
}

const (
	// smallHead is the head, in bytes, for which a label that has none finds room when the
	// heads of the others take all there is.
	smallHead = 16 << 10
	// reserve is the part of what there is for heads that is kept for those, and of what there is
	// for windows for labels that have no wide one.
	reserve = 4
)

// roomForHead reports whether a label may have so many more bytes of heads.
func (s *Set) roomForHead(l *label, head int64, b *Bounds) bool {
	switch {
	case l.heads+head > b.Heads.Label || s.heads+head > b.Heads.All:
		return false
	case s.heads+head > b.Heads.All-b.Heads.All/reserve:
		return l.heads == 0 && head <= smallHead
	}
	return true
}

// roomFor reports whether a label that uses so many bytes of a share may have n more, all using so
// many. The reserve is for labels that use none.
func (b Share) roomFor(label, all, n int64) bool {
	if all+n > b.All-b.All/reserve && label > 0 {
		return false
	}
	return label+n <= b.Label && all+n <= b.All
}

// TakeHeadOf takes n bytes for a head in the making of an admitted client whose session
// label is name, and reports whether there were as many left. A negative n gives them back.
func (s *Set) TakeHeadOf(name string, n int64) bool {
	b := s.bounds.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.labelOf(name)
	if n > 0 && !s.roomForHead(l, n, b) {
		s.forget(l)
		return false
	}
	l.heads += n
	s.heads += n
	s.forget(l)
	return true
}

// RefuseHead is the refusal of a request for whose head there is no room before it has
// ended.
func RefuseHead() *refuse.Refusal {
	return refuse.Busy("too much memory is in use for headers of requests that have not ended; send less than 4 KiB, or try again later")
}

// TakeHead takes n bytes for the head of a client that is not admitted yet, and reports
// whether there were as many left. A negative n gives them back.
func (s *Set) TakeHead(n int64) bool {
	if n < 0 {
		s.strangers.Add(n)
		return true
	}
	return take(&s.strangers, n, s.bounds.Load().Strangers)
}

// RefuseStranger is the refusal of a client whose head is too much, while it is not
// known who the client is.
func RefuseStranger() *refuse.Refusal {
	return refuse.Busy("too much is to be done for headers of clients that have not authenticated; send less than 4 KiB, or try again later")
}
