package app

import (
	"context"
	"runtime"
	"time"
)

// SuitProcessors has the program use one processor while that is enough, and all of them
// otherwise, until ctx ends, unless GOMAXPROCS is set. With more of them than there is work for,
// the runtime wakes a thread for nearly each event, to look for more, and that takes as much time
// as a short event does.
func SuitProcessors(ctx context.Context, getenv func(string) string) {
	used, ok := processorTime()
	if !ok || getenv("GOMAXPROCS") != "" || runtime.GOMAXPROCS(0) == 1 {
		return
	}
	defer runtime.SetDefaultGOMAXPROCS()
	var p processors
	began, timer := time.Now(), time.NewTimer(lookWhile)
	defer timer.Stop()
	for wait := lookWhile; ; {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		now := time.Now()
		usedNow, _ := processorTime()
		l := look{float64(usedNow-used) / float64(now.Sub(began)), now.Sub(began) - wait}
		if before := p.one; p.next(l) && !before {
			runtime.GOMAXPROCS(1)
		} else if before && !p.one {
			runtime.SetDefaultGOMAXPROCS()
		}
		wait, began, used = lookWhile, now, usedNow
		if l.busy <= atRest {
			wait = lookAtRest
		}
		timer.Reset(wait)
	}
}

const (
	lookWhile  = 50 * time.Millisecond // there is something to do
	lookAtRest = 500 * time.Millisecond
	// calmLooks in a row make one processor do.
	calmLooks = 10
	// atRest, calm and busy are numbers of processors that are kept busy. At rest there are
	// all, for the next burst.
	atRest = 0.002
	calm   = 0.3
	busy   = 0.5
	// late is what tells a machine that has more to do than it can, where a second thread
	// gets a second share of it. A timer may be a millisecond late by itself.
	late = 3 * time.Millisecond
)

// look is what was seen when the load was looked at.
type look struct {
	busy float64       // how many processors the program has kept busy since the last look
	late time.Duration // how late it came
}

// processors says how many of them suit a load.
type processors struct {
	one  bool
	calm int // looks in a row
}

// next returns whether one processor is enough after a look.
func (p *processors) next(l look) (one bool) {
	if l.busy <= atRest || l.late >= late || l.busy >= busy || !p.one && l.busy >= calm {
		*p = processors{}
		return false
	}
	p.calm++
	p.one = p.one || p.calm >= calmLooks
	return p.one
}
