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
	// lightTime is how long a label that has little to do is at work after each thing that it did.
	lightTime = 10 * time.Second
)

// workload says which labels have much to do, by the turns that they have taken. The zero value has
// seen none.
type workload struct {
	labels map[string]*leak // turns of those that have taken some, as long as they count
	sweep  int              // how many labels there are to be before those that count no more are left out
	all    leak
	light  string    // the label that had little to do when it worked last
	at     time.Time // when it did
}

// take counts a turn of a label. There are turns for most at a time.
func (w *workload) take(label string, most int, now time.Time) {
	work := w.labels[label]
	if work == nil {
		w.forget(now)
		work = new(leak)
		w.labels[label] = work
	}
	work.add(1, busyRate, busyTurns*5/4, now)
	w.all.add(1, float64(most)*manyRate, float64(most)*manyTurns*5/4, now)
}

// forget leaves out the labels that have taken no turn for long, and makes room for one more.
func (w *workload) forget(now time.Time) {
	if w.labels == nil {
		w.labels = make(map[string]*leak)
	}
	if len(w.labels) < w.sweep {
		return
	}
	for label, work := range w.labels {
		if work.after(busyRate, now) == 0 {
			delete(w.labels, label)
		}
	}
	w.sweep = 2*len(w.labels) + 64
}

// busy returns the turns of a label if they are more than others have to wait for, nil if they are
// not.
func (w *workload) busy(label string, most int, now time.Time) *leak {
	work := w.labels[label]
	if work == nil {
		return nil
	}
	bound := float64(busyTurns)
	if w.all.after(float64(most)*manyRate, now) > float64(most)*manyTurns {
		bound = fewTurns
	}
	if work.after(busyRate, now) <= bound {
		return nil
	}
	return work
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
	work := w.labels[label]
	return work == nil || work.after(busyRate, now) <= fewTurns
}

// othersWork reports whether another label works that has little to do, than being the turns of one.
func (w *workload) othersWork(than *leak, now time.Time) bool {
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
