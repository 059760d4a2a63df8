package track

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// turnTime is after how much time a turn ends by itself if somebody waits for one. Whoever has
	// a turn works, and is seldom kept waiting meanwhile.
	turnTime = time.Millisecond
	// restTime is how long nobody who is busy begins a turn in place of one that a busy label had.
	// A turn stands for more work than is done in it: what it leads to at other connections, at the
	// server, and for the collector of garbage.
	restTime = time.Millisecond
	// crowd is how many wait, for each turn that can be taken at a time, where busy labels rest. Some
	// large bodies, or a thousand requests a second on a few connections, are no crowd.
	crowd = 32
	// several is how many busy labels have to be among them, or one less and somebody who sends a long
	// head. One alone could not get through all that it has to do if it rested: what comes meanwhile
	// would be a crowd again.
	several = 3
)

// Turns has work that takes time of the processors done a few pieces at a time, so that other
// goroutines find a processor: the runtime runs what is ready in the order in which it became
// so, and looks for what has come from the network when nothing is. Those who wait take turns
// by their keys, so that whoever has much to do delays nobody but itself by it. All strangers
// together get as many turns as one label: of them, one waits for a turn of each other
// key, and with each for one of every label that waits. Those that send long heads get as many as
// one busy label, and rest like it.
//
// While labels work that have little to do, those that send much share what all may send, and those
// that are busy rest after their turns if a crowd of several waits. Their work would otherwise take all
// the time of a processor, and each step of the others' would wait for it.
type Turns struct {
	most int
	work workload

	mu        sync.Mutex
	taken     []*Turn            // the longest taken first
	rests     []time.Time        // when they end, the earliest first
	waiting   ring               // of those who wait for no rest, and of strangers
	busy      ring               // of busy labels, and of strangers that send long heads
	queued    int                // how many wait
	slow      int                // how many of them with keys of Slow
	round     int                // how many turns of each ring's one since the first of waiting
	strangers *turnQueue         // has a ring of its own
	long      *turnQueue         // the same for those that send long heads
	longWork  *work              // in the place of a label's
	keys      map[Key]*turnQueue // of all that wait, but for these two
	expiry    alarm              // when turns end because somebody waits
	rested    alarm              // when rests end that somebody waits for
	made      time.Time
	unnoted   atomic.Int64 // how long after made the next label with little to do is noted
}

// Kind is a kind of those who take turns.
type Kind int

const (
	// Stranger is a client that is not admitted.
	Stranger Kind = iota
	// Slow is such a client that has sent much of a long head.
	Slow
	// Label is a session label.
	Label
	// Shared is a session label that has waited for its share of what it does. It rests after none of
	// these turns.
	Shared
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
	busy  *work         // that of the label that it is of, if that is busy
	ready chan struct{} // gets a value when a turn that was waited for begins
}

// turnQueue is who waits under a key.
type turnQueue struct {
	key        Key
	waiting    []*Turn
	within     ring // the queues of those who share the turns of this one, in place of waiting
	of         *ring
	next, last *turnQueue // of the ring
}

// ring is the queues that take turns with each other.
type ring struct {
	first *turnQueue
	n     int
}

// add puts a queue behind all others.
func (r *ring) add(q *turnQueue) {
	r.n++
	q.of = r
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
	r.n--
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
	t := &Turns{most: most, strangers: new(turnQueue), long: new(turnQueue), longWork: new(work), keys: make(map[Key]*turnQueue), made: time.Now()}
	t.expiry.call, t.rested.call = t.expire, t.endRests
	return t
}

// mostSlow bounds those who wait under keys of [Slow], for each turn that can be taken at a time.
const mostSlow = 256

// BeginSlow is Begin for a key of [Slow]. It reports false, and takes no turn, if too many such wait.
func (t *Turns) BeginSlow(turn *Turn, name string) bool {
	taken, waits := t.begin(turn, Key{Slow, name})
	if waits {
		turn.await()
	}
	return taken || waits
}

// Begin waits for a turn of key, and takes it. The goroutine must have none, and wait for
// nothing until it calls [Turn.End]. If it does nevertheless, its turn ends when somebody
// else has waited for it for a millisecond.
func (t *Turns) Begin(turn *Turn, key Key) {
	if _, waits := t.begin(turn, key); waits {
		turn.await()
	}
}

// await waits until the turn begins.
func (turn *Turn) await() {
	<-turn.ready
	runtime.Gosched() // or it would run before all that became ready earlier
}

// begin takes a turn if nobody waits, or has it wait unless too many do.
func (t *Turns) begin(turn *Turn, key Key) (taken, waits bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if turn.turns == nil { // or whoever ends the last one might read it meanwhile
		turn.turns = t
	}
	now := time.Now()
	of, busy := t.ringOf(key, now)
	if of.n == 0 && t.free(now) > 0 && (busy == nil || t.free(now) > len(t.rests)) {
		t.take(turn, key, busy, now)
		t.arm(now) // busy ones may be waiting for a rest
		return true, false
	}
	if key.Kind == Slow && t.slow >= t.most*mostSlow {
		return false, false
	}
	if turn.ready == nil {
		turn.ready = make(chan struct{}, 1)
	}
	t.enqueue(turn, key, of)
	t.arm(now)
	return false, true
}

// ringOf returns the ring that those with a key wait in, and the work of a label that is busy.
func (t *Turns) ringOf(key Key, now time.Time) (*ring, *work) {
	switch key.Kind {
	case Slow:
		return &t.busy, t.longWork
	case Label:
		if busy := t.work.busy(key.Name, t.most, now); busy != nil {
			return &t.busy, busy
		}
	}
	return &t.waiting, nil
}

// AwaitShare waits until labels have sent no more than all may, or one that has sent n more bytes no more
// than its share. The goroutine must have no turn.
func (t *Turns) AwaitShare(label string, n int) {
	t.mu.Lock()
	w, now := &t.work, time.Now()
	l := w.of(label, now)
	pause := w.spend(l, &w.sent, &l.sent, float64(n), float64(t.most)*sendRate, sendBurst, now)
	t.mu.Unlock()
	time.Sleep(pause)
}

// AwaitRequest is AwaitShare for one more request of a label that has many under way: their answers
// would come at once.
func (t *Turns) AwaitRequest(label string) {
	t.mu.Lock()
	w, now := &t.work, time.Now()
	l := w.of(label, now)
	pause := w.spend(l, &w.asked, &l.asked, 1, float64(t.most)*askRate, askBurst, now)
	t.mu.Unlock()
	time.Sleep(pause)
}

// NoteLight notes that a label has done something that takes no turn. It reports false if the label has
// much to do all the same.
func (t *Turns) NoteLight(label string, now time.Time) bool {
	since := now.Sub(t.made)
	if int64(since) < t.unnoted.Load() {
		return true // others were noted, which is as good
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.work.note(label, now) {
		return false
	}
	t.unnoted.Store(int64(since + t.work.unnoted(now)))
	return true
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
		now := time.Now()
		t.drop(turn, now)
		t.fill(now)
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

// free returns how many turns can be taken. Rests that are over are over.
func (t *Turns) free(now time.Time) int {
	for len(t.rests) > 0 && !now.Before(t.rests[0]) {
		t.rests = t.rests[1:]
	}
	return t.most - len(t.taken)
}

func (t *Turns) take(turn *Turn, key Key, busy *work, now time.Time) {
	turn.taken.Store(true)
	turn.since, turn.busy = now, busy
	t.taken = append(t.taken, turn)
	if key.Kind == Label || key.Kind == Shared {
		t.work.take(key.Name, t.most, now)
	}
}

func (t *Turns) drop(turn *Turn, now time.Time) {
	turn.taken.Store(false)
	if turn.busy != nil && t.crowded() && t.work.othersWork(turn.busy, now) {
		t.rests = append(t.rests, now.Add(restTime))
	}
	for i, other := range t.taken {
		if other == turn {
			t.taken = append(t.taken[:i], t.taken[i+1:]...)
			return
		}
	}
}

// crowded reports whether so many wait that busy labels rest.
func (t *Turns) crowded() bool { return t.queued >= t.most*crowd && t.busy.n >= several }

// enqueue has a turn wait behind those of its key, or in a ring.
func (t *Turns) enqueue(turn *Turn, key Key, of *ring) {
	q := t.keys[key]
	if q == nil {
		q = &turnQueue{key: key}
		t.keys[key] = q
		if all := t.shared(key); all != nil {
			if all.within.n == 0 {
				of.add(all)
			}
			of = &all.within
		}
		of.add(q)
	}
	q.waiting = append(q.waiting, turn)
	t.queued++
	if key.Kind == Slow {
		t.slow++
	}
}

// shared returns the queue whose turns those with a key share with others, nil if they have turns of
// their own.
func (t *Turns) shared(key Key) *turnQueue {
	switch key.Kind {
	case Stranger:
		return t.strangers
	case Slow:
		return t.long
	}
	return nil
}

// dequeue returns the next turn that waits in a ring, and its key. There must be one.
func (t *Turns) dequeue(r *ring) (*Turn, Key) {
	q := r.next()
	if q == t.strangers || q == t.long {
		q = q.within.next()
	}
	turn := q.waiting[0]
	q.waiting = q.waiting[1:]
	t.queued--
	if q.key.Kind == Slow {
		t.slow--
	}
	if len(q.waiting) == 0 {
		delete(t.keys, q.key)
		q.of.remove(q)
		if all := t.shared(q.key); all != nil && all.within.n == 0 {
			r.remove(all)
		}
	}
	return turn, q.key
}

// fill begins the turns that there is room for.
func (t *Turns) fill(now time.Time) {
	for r := t.next(now); r != nil; r = t.next(now) {
		turn, key := t.dequeue(r)
		_, busy := t.ringOf(key, now)
		t.take(turn, key, busy, now)
		if q := t.keys[key]; q != nil && key.Kind == Label && busy != nil && q.of != &t.busy {
			q.of.remove(q)
			t.busy.add(q)
		}
		turn.ready <- struct{}{} // never waits: it was not ready before
	}
	t.arm(now)
}

// next returns the ring whose turn it is, nil if nobody can begin one. Both have as many as there
// are queues in them.
func (t *Turns) next(now time.Time) *ring {
	free := t.free(now)
	switch usual, busy := free > 0 && t.waiting.n > 0, free > len(t.rests) && t.busy.n > 0; {
	case usual && busy:
		if t.round++; t.round >= t.waiting.n+t.busy.n {
			t.round = 0
		}
		if t.round >= t.waiting.n {
			return &t.busy
		}
		return &t.waiting
	case usual:
		return &t.waiting
	case busy:
		return &t.busy
	}
	return nil
}

// arm has the longest turn end in time while somebody waits, and the earliest rest while somebody
// busy does.
func (t *Turns) arm(now time.Time) {
	if len(t.taken) > 0 && t.queued > 0 {
		t.expiry.set(t.taken[0].since.Add(turnTime).Sub(now))
	}
	if len(t.rests) > 0 && t.busy.n > 0 {
		t.rested.set(t.rests[0].Sub(now))
	}
}

// expire ends the turns that have taken their time.
func (t *Turns) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expiry.armed = false
	if t.queued == 0 {
		return
	}
	now := time.Now()
	for len(t.taken) > 0 && now.Sub(t.taken[0].since) >= turnTime {
		t.drop(t.taken[0], now)
	}
	t.fill(now)
}

// endRests begins the turns that rests were waited for with.
func (t *Turns) endRests() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rested.armed = false
	t.fill(time.Now())
}

// alarm calls a function once at a time. It is used with the mutex of [Turns] held, which the
// function locks.
type alarm struct {
	call  func()
	timer *time.Timer
	armed bool
}

// set has the function be called after a time, unless it is going to be.
func (a *alarm) set(after time.Duration) {
	if a.armed {
		return
	}
	a.armed = true
	if a.timer == nil {
		a.timer = time.AfterFunc(after, a.call)
	} else {
		a.timer.Reset(after)
	}
}
