package scale

import (
	"math/rand/v2"
)

// Streams simulates agents for some seconds, and returns how many of their
// streams ran at the same time: on average, and at most.
func (in Inputs) Streams(agents int, seconds float64, seed uint64) (mean, most float64) {
	random := rand.New(rand.NewPCG(seed, 1))
	between := in.StreamSeconds * (1 - in.Busy) / in.Busy
	var queue events[bool] // a stream begins, or ends
	for range agents {
		// As if they had been at work for ever.
		if random.Float64() < in.Busy {
			queue.add(random.ExpFloat64()*in.StreamSeconds, false)
			most++
		} else {
			queue.add(random.ExpFloat64()*between, true)
		}
	}
	running, last, area := most, 0.0, 0.0
	for {
		now, begins := queue.next()
		if now > seconds {
			return area / last, most
		}
		area += running * (now - last)
		last = now
		if begins {
			running++
			queue.add(now+random.ExpFloat64()*in.StreamSeconds, false)
		} else {
			running--
			queue.add(now+random.ExpFloat64()*between, true)
		}
		most = max(most, running)
	}
}
