package scale

import (
	"math"
	"math/rand/v2"
)

// Tasks says how agents come to their tasks. Times are in seconds.
type Tasks struct {
	Agents   int
	Replicas int
	// Ramp is the time within which all agents begin.
	Ramp float64
	// Between is the mean time between two uses of an agent.
	Between float64
	// Horizon is the end of the simulation.
	Horizon float64
	// PerSecond is how many registrations the backend takes in a second; the
	// others it refuses.
	PerSecond float64
	// Latency passes until the answer to a registration comes.
	Latency float64

	// As the proxy has them.
	MaxAge       float64 // of a task
	AgeSpread    float64 // how much earlier some are replaced
	MaxTasks     int     // of a replica
	AtOnce       int     // registrations that are under way at a time
	BackoffFirst float64
	BackoffMost  float64
	RetryAfter   float64 // what a client is told that is refused
}

// Outcome is what came of it.
type Outcome struct {
	Registrations int     // that the backend took
	Refused       int     // that it did not
	Held          int     // uses that a replica refused by itself, after a failure
	Most          int     // tries in one second, of agents that have no task yet
	MostRenewing  int     // and of those that have had one
	Ready         float64 // when the last agent had its first task
	Renewals      int     // registrations of agents that had had a task
}

// replica is what one proxy remembers.
type replica struct {
	registered map[int]float64 // by agent
	used       map[int]float64
	// After a failure, one at a time tries, and waits longer each time.
	failed, probing bool
	wait, until     float64
	underWay        int   // registrations
	waiting         []int // agents, for one of them to end
}

// Run simulates.
func (c Tasks) Run(seed uint64) Outcome {
	random := rand.New(rand.NewPCG(seed, 2))
	replicas := make([]*replica, c.Replicas)
	for i := range replicas {
		replicas[i] = &replica{registered: make(map[int]float64), used: make(map[int]float64)}
	}
	var queue events[happening]
	for agent := range c.Agents {
		queue.add(random.Float64()*c.Ramp, happening{agent: agent})
	}
	had := make([]bool, c.Agents)
	age := func(agent int) float64 { // of the agent's task when it is replaced
		return c.MaxAge - c.AgeSpread*float64(uint32(agent+1)*2654435761)/(1<<32)
	}
	var second, taken float64
	var tries, renewing int
	var out Outcome
	later := func(now float64) float64 { // as a client that is told to wait
		return now + c.RetryAfter*(1+0.2*random.Float64())
	}
	try := func(r *replica, agent int, now float64) {
		if r.failed && now < r.until {
			out.Held++
			queue.add(later(now), happening{agent: agent})
			return
		}
		if r.failed {
			r.until, r.probing = now+r.wait, true
		}
		if s := math.Floor(now); s != second {
			second, tries, renewing, taken = s, 0, 0, 0
		}
		if had[agent] {
			renewing++
		} else {
			tries++
		}
		out.Most, out.MostRenewing = max(out.Most, tries), max(out.MostRenewing, renewing)
		try := happening{agent: agent, answer: true, taken: taken < c.PerSecond}
		if try.taken {
			taken++
		}
		r.underWay++
		queue.add(now+c.Latency, try)
	}
	for queue.len() > 0 {
		now, h := queue.next()
		if now > c.Horizon {
			break
		}
		agent, r := h.agent, replicas[h.agent%c.Replicas]
		at, known := r.registered[agent]
		switch {
		case h.answer && h.taken:
			out.Registrations++
			if had[agent] {
				out.Renewals++
			} else {
				had[agent], out.Ready = true, now
			}
			r.failed, r.probing = false, false
			r.remember(c, agent, now)
			queue.add(c.nextUse(random, now, now+age(agent)), happening{agent: agent})
		case h.answer:
			out.Refused++
			r.fail(c, random, now)
			queue.add(later(now), happening{agent: agent})
		case known && now-at < age(agent):
			r.used[agent] = now
			queue.add(c.nextUse(random, now, at+age(agent)), happening{agent: agent})
		case r.underWay >= c.AtOnce:
			r.waiting = append(r.waiting, agent)
		default:
			try(r, agent, now)
		}
		if h.answer {
			r.underWay--
		}
		for len(r.waiting) > 0 && r.underWay < c.AtOnce {
			next := r.waiting[0]
			r.waiting = r.waiting[1:]
			try(r, next, now)
		}
	}
	return out
}

// happening is the use of an agent, or the answer to its registration.
type happening struct {
	agent         int
	answer, taken bool
}

// nextUse returns the agent's next use that can matter. Uses have no memory, so
// that those before a task's end can be left out unless a task may be forgotten
// before.
func (c Tasks) nextUse(random *rand.Rand, now, end float64) float64 {
	if c.Agents <= c.MaxTasks*c.Replicas {
		now = math.Max(now, end)
	}
	return now + random.ExpFloat64()*c.Between
}

// remember keeps an agent's task, and forgets the one that was not used for
// longest if there are too many.
func (r *replica) remember(c Tasks, agent int, now float64) {
	r.registered[agent], r.used[agent] = now, now
	if len(r.registered) <= c.MaxTasks {
		return
	}
	oldest := agent
	for other, used := range r.used {
		if used < r.used[oldest] || used == r.used[oldest] && other < oldest {
			oldest = other
		}
	}
	delete(r.registered, oldest)
	delete(r.used, oldest)
}

// fail has the replica wait: for twice as long as before if it was the one that
// tried again. Of several that were under way together one counts.
func (r *replica) fail(c Tasks, random *rand.Rand, now float64) {
	switch {
	case !r.failed:
		r.wait = c.BackoffFirst
	case r.probing:
		r.wait = math.Min(2*r.wait, c.BackoffMost)
	default:
		return
	}
	r.until = now + r.wait*(0.5+random.Float64())
	r.failed, r.probing = true, false
}
