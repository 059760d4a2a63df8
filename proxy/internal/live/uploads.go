package live

import (
	"context"
	"math/bits"
	"slices"
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
// [uploadPatience], or ctx ends. It does so at once if another upload is under way on the same
// connection: what comes of a body that nobody reads takes the connection's window (RFC 9113, section
// 5.2), without which the other does not end either. The room is given back by [Entry.EndUpload] or
// [Set.Remove]. waited says that the client may have left meanwhile: nobody has read from it.
func (e *Entry) BeginUpload(ctx context.Context, length int64) (waited bool, refused *refuse.Refusal) {
	s := e.set
	if s == nil || 0 <= length && length <= freeUpload {
		return false, nil
	}
	bytes := int64(maxUpload)
	if 0 <= length && length < maxUpload {
		bytes = 1 << bits.Len64(uint64(length))
	}
	w := &waitingUpload{e, bytes, make(chan struct{})}
	begun, mayWait := s.addUpload(w)
	if begun {
		return false, nil
	}
	if !mayWait {
		return false, refuseUpload()
	}
	timer := time.NewTimer(uploadPatience)
	defer timer.Stop()
	select {
	case <-w.begun:
		return true, nil
	case <-ctx.Done():
	case <-timer.C:
	}
	if !s.giveUpUpload(w) {
		return true, nil // there was room in the last moment
	}
	return true, refuseUpload()
}

func refuseUpload() *refuse.Refusal {
	return refuse.Busy("the requests with large bodies that run take as much memory as there is for them; wait for some to end, or raise limits.memory")
}

// addUpload begins an upload if there is room for it, or has it wait if it may.
func (s *Set) addUpload(w *waitingUpload) (begun, mayWait bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	mayWait = w.Conn == nil || w.Conn.uploads == 0
	w.Conn.addUploads(1)
	s.uploadsWaiting = append(s.uploadsWaiting, w)
	s.beginWaiting()
	begun = w.uploading.Load() > 0
	if !begun && !mayWait {
		s.removeUpload(w)
	}
	return begun, mayWait
}

// giveUpUpload has an upload wait no longer. It reports false if the upload has begun.
func (s *Set) giveUpUpload(w *waitingUpload) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.removeUpload(w) {
		return false
	}
	s.beginWaiting() // those that need less
	return true
}

// removeUpload takes an upload out of those that wait, and reports whether it was one.
func (s *Set) removeUpload(w *waitingUpload) bool {
	i := slices.Index(s.uploadsWaiting, w)
	if i < 0 {
		return false
	}
	s.uploadsWaiting = slices.Delete(s.uploadsWaiting, i, i+1)
	w.Conn.addUploads(-1)
	return true
}

// UploadsWaiting returns how many uploads wait for room.
func (s *Set) UploadsWaiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploadsWaiting)
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
		e.Conn.addUploads(-1)
		s.beginWaiting()
	}
}

// beginWaiting begins the uploads that there is room for, in their order: what needs less does
// not overtake what needs more. An upload that waits for others of its label holds up those of
// its label alone. A part is kept for labels that have none, so that one of these holds up all,
// and another those that have some.
func (s *Set) beginWaiting() {
	if len(s.uploadsWaiting) == 0 {
		return
	}
	b := s.bounds.Load().Uploads
	full := false   // for labels that have none
	scarce := false // for those that have some
	stuck := make(map[*label]bool)
	waits := func(w *waitingUpload) bool {
		l, after := w.label, s.uploads+w.bytes
		switch {
		case full:
			return true
		case s.uploads == 0: // or with little memory nobody could upload anything
			return false
		case l.uploads == 0:
			full = after > b.All
			return full
		case stuck[l], l.uploads+w.bytes > b.Label:
			stuck[l] = true
			return true
		}
		scarce = scarce || after > b.All-b.All/reserve
		return scarce
	}
	s.uploadsWaiting = slices.DeleteFunc(s.uploadsWaiting, func(w *waitingUpload) bool {
		if waits(w) {
			return false
		}
		s.beginUpload(w.Entry, w.bytes)
		close(w.begun)
		return true
	})
}
