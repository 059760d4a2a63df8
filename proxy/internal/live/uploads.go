package live

import (
	"context"
	"math/bits"
	"time"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

const (
	// freeUpload is the length, in bytes, up to which bodies of requests are not counted.
	freeUpload = 64 << 10
	// maxUpload is the largest buffer, in bytes, that net/http has for a request's body over
	// HTTP/2, if the server takes frames of that size. Its sizes are powers of two. The bytes
	// that the body has left count, or maxUpload if nobody knows them.
	maxUpload = 512 << 10
	// uploadPatience is how long an upload waits for others to end.
	uploadPatience = 5 * time.Second
)

// waitingUpload is an upload for which there is no room yet.
type waitingUpload struct {
	*Entry
	bytes int64
	begun chan struct{} // closed when there is
}

// BeginUpload waits until there is room for the buffer of an upload of so many bytes, which
// are less than 0 if nobody knows them. It refuses the exchange if there is none for
// [uploadPatience], or ctx ends. The room is given back by [Entry.EndUpload] or
// [Set.Remove].
func (e *Entry) BeginUpload(ctx context.Context, length int64) *refuse.Refusal {
	s := e.set
	if s == nil || 0 <= length && length <= freeUpload {
		return nil
	}
	bytes := int64(maxUpload)
	if 0 <= length && length < maxUpload {
		bytes = 1 << bits.Len64(uint64(length))
	}
	s.mu.Lock()
	if e.label.uploadsWaiting == 0 && s.roomForUpload(e.label, bytes) {
		s.beginUpload(e, bytes)
		s.mu.Unlock()
		return nil
	}
	w := &waitingUpload{e, bytes, make(chan struct{})}
	s.uploadsWaiting = append(s.uploadsWaiting, w)
	e.label.uploadsWaiting++
	s.mu.Unlock()
	timer := time.NewTimer(uploadPatience)
	defer timer.Stop()
	select {
	case <-w.begun:
		return nil
	case <-ctx.Done():
	case <-timer.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, other := range s.uploadsWaiting {
		if other == w {
			s.uploadsWaiting = append(s.uploadsWaiting[:i], s.uploadsWaiting[i+1:]...)
			e.label.uploadsWaiting--
			s.beginWaiting() // those of the label that need less
			return refuse.Busy("the requests with large bodies that run take as much memory as there is for them; wait for some to end, or raise limits.memory")
		}
	}
	return nil // there was room in the last moment
}

// EndUpload gives back what [Entry.BeginUpload] has taken, if anything.
func (e *Entry) EndUpload() {
	if e.uploading.Load() == 0 {
		return
	}
	e.label.set.mu.Lock()
	defer e.label.set.mu.Unlock()
	e.label.set.endUpload(e)
}

func (s *Set) beginUpload(e *Entry, bytes int64) {
	e.uploading.Store(bytes)
	e.label.uploads += bytes
	s.uploads += bytes
}

func (s *Set) endUpload(e *Entry) {
	bytes := e.uploading.Swap(0)
	e.label.uploads -= bytes
	s.uploads -= bytes
	if bytes > 0 {
		s.beginWaiting()
	}
}

// beginWaiting begins the uploads that there is room for. Those of a label keep their order.
func (s *Set) beginWaiting() {
	if len(s.uploadsWaiting) == 0 {
		return
	}
	stuck := make(map[*label]bool)
	still := s.uploadsWaiting[:0]
	for _, w := range s.uploadsWaiting {
		if stuck[w.label] || !s.roomForUpload(w.label, w.bytes) {
			stuck[w.label] = true
			still = append(still, w)
			continue
		}
		w.label.uploadsWaiting--
		s.beginUpload(w.Entry, w.bytes)
		close(w.begun)
	}
	clear(s.uploadsWaiting[len(still):])
	s.uploadsWaiting = still
}

// roomForUpload reports whether a label may have so many more bytes of buffers. A part is kept
// for labels that have none.
func (s *Set) roomForUpload(l *label, bytes int64) bool {
	b := s.bounds.Load().Uploads
	switch {
	case s.uploads == 0:
		return true // or with little memory nobody could upload anything
	case l.uploads == 0:
		return s.uploads+bytes <= b.All
	}
	return l.uploads+bytes <= b.Label && s.uploads+bytes <= b.All-b.All/headReserve
}
