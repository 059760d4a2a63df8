package scale

import "container/heap"

// events is a queue of what happens when. The zero value is empty.
type events[T any] struct{ heap eventHeap[T] }

type event[T any] struct {
	at   float64 // seconds
	what T
}

// add has something happen at a time.
func (q *events[T]) add(at float64, what T) { heap.Push(&q.heap, event[T]{at, what}) }

// next removes what happens first.
func (q *events[T]) next() (at float64, what T) {
	e := heap.Pop(&q.heap).(event[T])
	return e.at, e.what
}

func (q *events[T]) len() int { return len(q.heap) }

// eventHeap implements [heap.Interface].
type eventHeap[T any] []event[T]

func (h eventHeap[T]) Len() int           { return len(h) }
func (h eventHeap[T]) Less(i, j int) bool { return h[i].at < h[j].at }
func (h eventHeap[T]) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *eventHeap[T]) Push(x any)        { *h = append(*h, x.(event[T])) }
func (h *eventHeap[T]) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}
