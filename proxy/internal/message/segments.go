package message

// segments are bytes that are kept in the buffers of a pool. None is copied when more come, so
// that keeping them makes no garbage.
type segments struct {
	pool *Buffers
	all  [][]byte // each a whole buffer
	used int      // of the last one
	size int64    // of all bytes
}

// next returns the size of the buffer that is to be added when n more bytes are to be kept, and
// rest at most: as large as what is there, but not much larger than what is left.
func (s *segments) next(n int, rest int64) int {
	want := max(int64(n), s.size)
	switch {
	case want > bufferSize && rest >= bulkSize:
		return bulkSize
	case want > smallSize && rest >= bufferSize:
		return bufferSize
	}
	return smallSize
}

// add adds a buffer of a size that next has returned.
func (s *segments) add(size int) {
	s.all, s.used = append(s.all, s.pool.get(size)), 0
}

// write keeps the first bytes of p, as many as the last buffer has room for, and returns how
// many.
func (s *segments) write(p []byte) (n int) {
	if len(s.all) > 0 {
		n = copy(s.all[len(s.all)-1][s.used:], p)
	}
	s.used += n
	s.size += int64(n)
	return n
}

// readAt copies to p what is kept from offset on, as far as it is in one buffer.
func (s *segments) readAt(p []byte, offset int64) int {
	for i, b := range s.all {
		if i == len(s.all)-1 {
			b = b[:s.used]
		}
		if offset < int64(len(b)) {
			return copy(p, b[offset:])
		}
		offset -= int64(len(b))
	}
	return 0
}

// free gives the buffers back. Nothing is kept then.
func (s *segments) free() {
	for _, b := range s.all {
		s.pool.Put(b)
	}
	s.all, s.used, s.size = nil, 0, 0
}
