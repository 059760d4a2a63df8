package scale

// events is a queue of what happens when. The zero value is empty.
type events[T any] struct{ heap []event[T] }

type event[T any] struct {
	at   float64 // seconds
	what T
}

func (q *events[T]) len() int { return len(q.heap) }

// add has something happen at a time.
func (q *events[T]) add(at float64, what T) {
	q.heap = append(q.heap, event[T]{at, what})
	h, i := q.heap, len(q.heap)-1
	for i > 0 {
		parent := (i - 1) / 2
		if h[i].at >= h[parent].at {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

// next removes what happens first. It is container/heap's binary heap, whose interface
// takes half of the time of a simulation.
func (q *events[T]) next() (at float64, what T) {
	h, last := q.heap, len(q.heap)-1
	first := h[0]
	h[0], h[last] = h[last], event[T]{}
	h = h[:last]
	q.heap = h
	for i := 0; ; {
		least := 2*i + 1
		if least >= last {
			return first.at, first.what
		}
		if right := least + 1; right < last && h[right].at < h[least].at {
			least = right
		}
		if h[least].at >= h[i].at {
			return first.at, first.what
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
