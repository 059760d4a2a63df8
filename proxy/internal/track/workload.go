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
	// encrypted for the server as well, and taken by it on the same machine.
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

// workload says which labels have much to do, by the turns that they have taken and by what they send.
// The zero value has seen none.
type workload struct {
	labels map[string]*work // of those that have done something, as long as it counts
	sweep  int              // how many labels there are to be before those that count no more are left out
	all    leak             // turns
	sent   total            // bytes
	asked  total            // requests; see Turns.AwaitRequest
	light  [2]lightLabel    // the last two that were noted
}

// lightLabel is a label that had little to do when it worked last.
type lightLabel struct {
	name string
	at   time.Time
}

// total is what all labels have had of something that they share.
type total struct {
	all   leak
	of    map[*leak]bool // what each has had that has had some lately
	sweep time.Time      // when those that have not are left out next
}

// sharing returns how many labels have had some lately, that of part among them, which has some now.
func (t *total) sharing(part *leak, now time.Time) int {
	if t.of == nil {
		t.of = make(map[*leak]bool)
	}
	t.of[part] = true
	if !now.Before(t.sweep) {
		t.sweep = now.Add(longestPause / 16)
		for other := range t.of {
			if now.Sub(other.at) > longestPause && other != part {
				delete(t.of, other)
			}
		}
	}
	return len(t.of)
}

// work is what a label has done.
type work struct {
	turns leak
	sent  leak // its part of workload.sent
	asked leak // and of workload.asked
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

// take counts a turn of a label. There are turns for most at a time.
func (w *workload) take(label string, most int, now time.Time) {
	w.of(label, now).turns.add(1, busyRate, busyTurns*5/4, now)
	w.all.add(1, float64(most)*manyRate, float64(most)*manyTurns*5/4, now)
}

// spend adds n to the part that a label has had of t, of which all may have rate in a second together, and
// each burst at once besides. It returns for how long the label is to wait until all have had no more than
// that, or it has had no more than its share.
func (w *workload) spend(l *work, t *total, part *leak, n, rate, burst float64, now time.Time) time.Duration {
	share := rate / float64(t.sharing(part, now))
	debt := (part.add(n, share, burst+share*longestPause.Seconds(), now) - burst) / share
	all := (t.all.add(n, rate, burst+rate*longestPause.Seconds(), now) - burst) / rate
	if debt <= 0 || all <= 0 || !w.othersWork(l, now) {
		return 0
	}
	return time.Duration(min(debt, all) * float64(time.Second))
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
		if l.turns.after(busyRate, now) == 0 && now.Sub(l.sent.at) > lightTime && now.Sub(l.asked.at) > lightTime {
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
	i := 0
	if w.light[1].name == label || w.light[0].name != label && w.light[1].at.Before(w.light[0].at) {
		i = 1
	}
	w.light[i] = lightLabel{label, now}
	return true
}

// unnoted returns for how long nobody else need be noted.
func (w *workload) unnoted(now time.Time) time.Duration {
	for _, light := range w.light {
		if light.at.IsZero() || now.Sub(light.at) >= time.Second || !w.isLight(light.name, now) {
			return 0
		}
	}
	return time.Second
}

// isLight reports whether a label has taken few turns.
func (w *workload) isLight(label string, now time.Time) bool {
	l := w.labels[label]
	return l == nil || l.turns.after(busyRate, now) <= fewTurns
}

// othersWork reports whether another label works that has little to do, than the one whose work is given.
func (w *workload) othersWork(than *work, now time.Time) bool {
	for _, light := range w.light {
		if !light.at.IsZero() && now.Sub(light.at) < lightTime && w.labels[light.name] != than && w.isLight(light.name, now) {
			return true
		}
	}
	return false
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
