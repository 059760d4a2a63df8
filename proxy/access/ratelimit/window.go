package ratelimit

import "time"

const (
	// slot is the precision in which a request's time is kept, and slots how many of them
	// are a minute, with the one that has only begun. So no minute has more requests than
	// the limit, and a client that always sends what it may gets 0.4 per cent less.
	slot  = 250 * time.Millisecond
	slots = int64(time.Minute/slot) + 1
)

// window counts the requests of the last minute. A bucket of tokens would be smaller,
// but it lets either twice the limit through in a minute, or not the handful of requests
// with which every agent begins.
type window struct {
	last   int64 // the latest slot that counts
	sum    int   // of counts
	counts [slots]uint32
}

// advance drops what is older than a minute.
func (w *window) advance(now int64) {
	if now-w.last >= slots {
		*w = window{last: now}
		return
	}
	for w.last < now {
		w.last++
		c := &w.counts[w.last%slots]
		w.sum -= int(*c)
		*c = 0
	}
}

// room reports whether another request is within most, of which 0 is no limit. If not,
// wait is the time until one is.
func (w *window) room(now int64, most int) (wait time.Duration, ok bool) {
	w.advance(now)
	if most == 0 || w.sum < most {
		return 0, true
	}
	left := w.sum
	for at := w.last - slots + 1; ; at++ {
		if at >= 0 {
			left -= int(w.counts[at%slots])
		}
		if left < most || at == w.last {
			return time.Duration(at+slots-w.last) * slot, false
		}
	}
}

// add counts a request. room must have been called with the same now.
func (w *window) add(now int64) {
	w.counts[w.last%slots]++
	w.sum++
}

// empty reports whether nothing of the last minute is counted.
func (w *window) empty(now int64) bool {
	w.advance(now)
	return w.sum == 0
}
