package track

import "time"

const (
	// busyTurns is how many turns a label may take at once before it is busy, and busyRate how many
	// more in each second. There are none for a connection's usual work, which [Pace] lets pass.
	busyTurns, busyRate = 500, 20
	// manyTurns and manyRate are the same for all labels together, by turns that are taken at a time.
	// Beyond them a label is busy that has more than fewTurns: many share what one may do.
	manyTurns, manyRate = 2000, 1000
	fewTurns            = 16
	// sendRate is how many bytes a second those labels may send together that send much, while another
	// works that has little to do, for each turn that can be taken at a time. What is sent has to be
	// encrypted for the server, and taken by it, in more time than it has turns.
	sendRate = 80 << 20
	// sendBurst is how many a label may send at once besides.
	sendBurst = 8 << 20
	// askRate and askBurst are the same for requests of labels that have many under way. A request may
	// bring in NarrowWindow, of package upstream, before anybody reads.
	askRate  = 400
	askBurst = 1
	// longestPause is the longest wait for one's share: nothing ends it.
	longestPause = 250 * time.Millisecond
	// lightTime is how long a label that has little to do is at work after each thing that it did.
	lightTime = 10 * time.Second
)

// workload says which labels have much to do, by the turns that they have taken. The zero value has
// seen none.
type workload struct {
	labels  map[string]*work // of those that have done something, as long as it counts
	sweep   int              // how many labels there are to be before those that count no more are left out
	all     leak             // turns
	pausing int              // how many labels wait for their share
	light   string           // the label that had little to do when it worked last
	at      time.Time        // when it did
}

// work is what a label has done.
type work struct {
	turns   leak
	sent    leak // bytes
	asked   leak // requests; see Turns.AwaitRequest
	pausing int  // how many wait until it is within its share
}

// of returns the work of a label.
func (w *workload) of(label string, now time.Time) *work {
	l := w.labels[label]
	if l == nil {
		w.forget(now)
		l = new(work)
		w.labels[label] = l
	}
	return l
}

// take counts a turn of a label, and reports whether the label had little to do until now, and no other
// is known that has. There are turns for most at a time.
func (w *workload) take(label string, most int, now time.Time) (unknown bool) {
	w.of(label, now).turns.add(1, busyRate, busyTurns*5/4, now)
	w.all.add(1, float64(most)*manyRate, float64(most)*manyTurns*5/4, now)
	if w.at.IsZero() || label != w.light || w.isLight(label, now) {
		return false
	}
	w.at = time.Time{}
	return true
}

// spend adds n to an amount of a label's, of which all labels may have rate in a second together, and
// each burst at once besides. It returns for how long the label is to wait until it has had no more than
// its share. After that [workload.endPause] is to be called, unless it is 0.
func (w *workload) spend(l *work, amount *leak, n, rate, burst float64, now time.Time) time.Duration {
	sharing := w.pausing
	if l.pausing == 0 {
		sharing++
	}
	rate /= float64(sharing)
	more := amount.add(n, rate, burst+rate*longestPause.Seconds(), now) - burst
	if more <= 0 || !w.othersWork(l, now) {
		return 0
	}
	if l.pausing++; l.pausing == 1 {
		w.pausing++
	}
	return time.Duration(more / rate * float64(time.Second))
}

// endPause notes that a pause is over.
func (w *workload) endPause(l *work) {
	if l.pausing--; l.pausing == 0 {
		w.pausing--
	}
}

// forget leaves out the labels that have done nothing for long, and makes room for one more.
func (w *workload) forget(now time.Time) {
	if w.labels == nil {
		w.labels = make(map[string]*work)
	}
	if len(w.labels) < w.sweep {
		return
	}
	for label, l := range w.labels {
		if l.turns.after(busyRate, now) == 0 && l.pausing == 0 && now.Sub(l.sent.at) > lightTime && now.Sub(l.asked.at) > lightTime {
			delete(w.labels, label)
		}
	}
	w.sweep = 2*len(w.labels) + 64
}

// busy returns the work of a label if it has taken more turns than others have to wait for, nil if it has
// not.
func (w *workload) busy(label string, most int, now time.Time) *work {
	l := w.labels[label]
	if l == nil {
		return nil
	}
	bound := float64(busyTurns)
	if w.all.after(float64(most)*manyRate, now) > float64(most)*manyTurns {
		bound = fewTurns
	}
	if l.turns.after(busyRate, now) <= bound {
		return nil
	}
	return l
}

// note notes that a label has done something that takes no turn, and reports whether it has little
// to do.
func (w *workload) note(label string, now time.Time) bool {
	if !w.isLight(label, now) {
		return false
	}
	w.light, w.at = label, now
	return true
}

// isLight reports whether a label has taken few turns.
func (w *workload) isLight(label string, now time.Time) bool {
	l := w.labels[label]
	return l == nil || l.turns.after(busyRate, now) <= fewTurns
}

// othersWork reports whether another label works that has little to do, than the one whose work is given.
func (w *workload) othersWork(than *work, now time.Time) bool {
	return !w.at.IsZero() && now.Sub(w.at) < lightTime && w.labels[w.light] != than && w.isLight(w.light, now)
}

// leak is an amount that becomes less with time. The zero value is nothing.
type leak struct {
	amount float64
	at     time.Time
}

// after returns what is left of it at a time, if it loses so much in a second.
func (l *leak) after(rate float64, now time.Time) float64 {
	if l.at.IsZero() {
		return 0
	}
	return max(0, l.amount-now.Sub(l.at).Seconds()*rate)
}

// add adds n to what is left of it at a time, up to most, and returns the sum.
func (l *leak) add(n, rate, most float64, now time.Time) float64 {
	l.amount, l.at = min(l.after(rate, now)+n, most), now
	return l.amount
}
