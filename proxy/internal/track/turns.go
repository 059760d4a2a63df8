package track

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// turnTime is after how much time a turn ends by itself if somebody waits for one. Whoever has
// a turn works, and is seldom kept waiting meanwhile.
const turnTime = time.Millisecond

// Turns has work that takes time of the processors done a few pieces at a time, so that other
// goroutines find a processor: the runtime runs what is ready in the order in which it became
// so, and looks for what has come from the network when nothing is. Those who wait take turns
// by their keys, so that whoever has much to do delays nobody but itself by it. All who are not
// admitted together get as many turns as one who is: of them, one waits for a turn of each other
// key, and with each for one of every label that waits.
type Turns struct {
	most int

	mu        sync.Mutex
	taken     []*Turn            // the longest taken first
	waiting   ring               // of those who are admitted, and of strangers
	strangers *turnQueue         // has a ring of its own
	keys      map[Key]*turnQueue // of all that wait; strangers itself has none
	timer     *time.Timer        // ends turns while somebody waits
	armed     bool
}

// Kind is a kind of those who take turns.
type Kind int

const (
	// Stranger is a client that is not admitted.
	Stranger Kind = iota
	// Label is a session label.
	Label
	// Server is a connection to a server.
	Server
)

// Key says who takes turns.
type Key struct {
	Kind Kind
	Name string // the session label, the client's name, or the connection's to a server
}

// Turn is one of a goroutine's turns. The zero value has none.
type Turn struct {
	turns *Turns      // that it is of; nil before the first one
	taken atomic.Bool // changes with turns.mu held
	since time.Time
	ready chan struct{} // gets a value when a turn that was waited for begins
}

// turnQueue is who waits under a key.
type turnQueue struct {
	key        Key
	waiting    []*Turn
	within     ring       // the queues of those who share the turns of this one, in place of waiting
	next, last *turnQueue // of the ring
}

// ring is the queues that take turns with each other.
type ring struct{ first *turnQueue }

// add puts a queue behind all others.
func (r *ring) add(q *turnQueue) {
	if r.first == nil {
		r.first, q.next, q.last = q, q, q
		return
	}
	q.next, q.last = r.first, r.first.last
	q.last.next, q.next.last = q, q
}

// next returns the queue whose turn it is. There must be one.
func (r *ring) next() *turnQueue {
	q := r.first
	r.first = q.next
	return q
}

// remove takes a queue out.
func (r *ring) remove(q *turnQueue) {
	if q.next == q {
		r.first = nil
	} else if r.first == q {
		r.first = q.next
	}
	q.last.next, q.next.last = q.next, q.last
}

// NewTurns returns turns of which most are taken at a time. 0: as many as there are
// processors for goroutines, but for one.
func NewTurns(most int) *Turns {
	if most == 0 {
		most = max(1, runtime.GOMAXPROCS(0)-1)
	}
	return &Turns{most: most, strangers: new(turnQueue), keys: make(map[Key]*turnQueue)}
}

// Begin waits for a turn of key, and takes it. The goroutine must have none, and wait for
// nothing until it calls [Turn.End]. If it does nevertheless, its turn ends when somebody
// else has waited for it for a millisecond.
func (t *Turns) Begin(turn *Turn, key Key) {
	if !t.begin(turn, key) {
		<-turn.ready
		runtime.Gosched() // or it would run before all that became ready earlier
	}
}

// begin takes a turn if nobody waits, or has it wait.
func (t *Turns) begin(turn *Turn, key Key) (taken bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if turn.turns == nil { // or whoever ends the last one might read it meanwhile
		turn.turns = t
	}
	if t.waiting.first == nil && len(t.taken) < t.most {
		t.take(turn)
		return true
	}
	if turn.ready == nil {
		turn.ready = make(chan struct{}, 1)
	}
	t.enqueue(turn, key)
	t.arm()
	return false
}

// End ends the turn, if it has not ended yet.
func (turn *Turn) End() {
	if !turn.taken.Load() {
		return
	}
	t := turn.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	if turn.taken.Load() {
		t.drop(turn)
		t.fill()
	}
}

// EndFunc returns [Turn.End], or nil if no turn has begun.
func (turn *Turn) EndFunc() func() {
	if turn.turns == nil {
		return nil
	}
	return turn.End
}

// Taken returns how many turns are taken.
func (t *Turns) Taken() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.taken)
}

func (t *Turns) take(turn *Turn) {
	turn.taken.Store(true)
	turn.since = time.Now()
	t.taken = append(t.taken, turn)
}

func (t *Turns) drop(turn *Turn) {
	turn.taken.Store(false)
	for i, other := range t.taken {
		if other == turn {
			t.taken = append(t.taken[:i], t.taken[i+1:]...)
			return
		}
	}
}

// enqueue has a turn wait behind those of its key.
func (t *Turns) enqueue(turn *Turn, key Key) {
	q := t.keys[key]
	if q == nil {
		q = &turnQueue{key: key}
		t.keys[key] = q
		if key.Kind != Stranger {
			t.waiting.add(q)
		} else {
			if t.strangers.within.first == nil {
				t.waiting.add(t.strangers)
			}
			t.strangers.within.add(q)
		}
	}
	q.waiting = append(q.waiting, turn)
}

// dequeue returns the next turn that waits. There must be one.
func (t *Turns) dequeue() *Turn {
	q, of := t.waiting.next(), &t.waiting
	if q == t.strangers {
		of = &q.within
		q = of.next()
	}
	turn := q.waiting[0]
	q.waiting = q.waiting[1:]
	if len(q.waiting) > 0 {
		return turn
	}
	delete(t.keys, q.key)
	of.remove(q)
	if of.first == nil && of != &t.waiting {
		t.waiting.remove(t.strangers)
	}
	return turn
}

// fill begins the turns that there is room for.
func (t *Turns) fill() {
	for t.waiting.first != nil && len(t.taken) < t.most {
		turn := t.dequeue()
		t.take(turn)
		turn.ready <- struct{}{} // never waits: it was not ready before
	}
}

// arm has the longest turn end in time, while somebody waits.
func (t *Turns) arm() {
	if t.armed || t.waiting.first == nil {
		return
	}
	t.armed = true
	left := turnTime - time.Since(t.taken[0].since)
	if t.timer == nil {
		t.timer = time.AfterFunc(left, t.expire)
	} else {
		t.timer.Reset(left)
	}
}

// expire ends the turns that have taken their time.
func (t *Turns) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.armed = false
	if t.waiting.first == nil {
		return
	}
	for len(t.taken) > 0 && time.Since(t.taken[0].since) >= turnTime {
		t.drop(t.taken[0])
	}
	t.fill()
	t.arm()
}
