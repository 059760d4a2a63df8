package scale

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access/ratelimit"
)

// simClock is the time of a simulation, for parts of the program that ask for the time.
type simClock struct{ seconds float64 }

func (c *simClock) now() time.Time {
	return time.Unix(1_800_000_000, 0).Add(time.Duration(c.seconds * float64(time.Second)))
}

// Team is a number of agents that share replicas, of which some run away: they ask for one
// stream after another, however many they have.
type Team struct {
	Inputs
	Agents, Replicas, Runaways int
	// Rules are the limits of each replica, which the program's own limiter keeps. nil: none.
	Rules *ratelimit.Rules
}

// TeamOutcome is what came of it, in the last minute.
type TeamOutcome struct {
	Asked, Passed float64 // requests a second
	Streams       float64 // at most
	Others        int     // requests that were refused of agents which did not run away
}

// action is what an agent does, or the end of a stream of its.
type action struct {
	agent int
	end   func()
}

// Run simulates for some seconds.
func (t Team) Run(seconds float64, seed uint64) (out TeamOutcome) {
	random := rand.New(rand.NewPCG(seed, 4))
	var clock simClock
	limiters := make([]*ratelimit.Limiter, t.Replicas)
	for i := range limiters {
		limiters[i] = ratelimit.New(clock.now)
	}
	labels := make([]string, t.Agents)
	for i := range labels {
		labels[i] = "agent-" + strconv.Itoa(i)
	}
	between := t.StreamSeconds * (1 - t.Busy) / t.Busy
	var queue events[action]
	for agent := range t.Agents {
		queue.add(random.Float64()*between, action{agent: agent})
	}
	streams, asked, passed := 0.0, 0, 0
	admit := func(agent int, now float64) bool {
		counts := now > seconds-60
		if counts {
			asked++
		}
		if t.Rules != nil && limiters[agent%t.Replicas].Request(ratelimit.Client{Label: labels[agent]}, t.Rules) != nil {
			if counts && agent >= t.Runaways {
				out.Others++
			}
			return false
		}
		if counts {
			passed++
		}
		return true
	}
	begin := func(agent int, now float64) {
		end := func() {}
		if t.Rules != nil {
			done, refused := limiters[agent%t.Replicas].Stream(ratelimit.Client{Label: labels[agent]}, t.Rules)
			if refused != nil {
				if agent >= t.Runaways {
					out.Others++
				}
				return
			}
			end = done
		}
		streams++
		if now > seconds-60 {
			out.Streams = math.Max(out.Streams, streams)
		}
		queue.add(now+random.ExpFloat64()*t.StreamSeconds, action{agent, end})
	}
	for {
		now, a := queue.next()
		if now > seconds {
			out.Asked, out.Passed = float64(asked)/60, float64(passed)/60
			return out
		}
		clock.seconds = now
		switch {
		case a.end != nil:
			a.end()
			streams--
			if a.agent >= t.Runaways {
				queue.add(now+random.ExpFloat64()*between, action{agent: a.agent})
			}
			continue
		case a.agent < t.Runaways:
			queue.add(now+1/t.RunawayPerSecond, action{agent: a.agent})
		default:
			for range int(t.RequestsPerTurn) {
				admit(a.agent, now)
			}
		}
		if !admit(a.agent, now) {
			if a.agent >= t.Runaways {
				queue.add(now+10, action{agent: a.agent})
			}
			continue
		}
		begin(a.agent, now)
	}
}

// Allowance is a window of an account's that so many agents use up.
type Allowance struct {
	Inputs
	Agents  int
	Streams int // limits.total_streams, 0 for none
}

// AllowanceOutcome is what came of it when the window ends.
type AllowanceOutcome struct {
	Turns   int     // that were answered
	UsedUp  float64 // minutes until nothing was left, or the whole window
	Refused int     // by the backend, because nothing was left
	Waits   int     // that the proxy told agents
}

// Run simulates one window.
func (a Allowance) Run(seed uint64) (out AllowanceOutcome) {
	random := rand.New(rand.NewPCG(seed, 5))
	var clock simClock
	limiter := ratelimit.New(clock.now)
	rules := &ratelimit.Rules{Total: ratelimit.Limits{Streams: a.Streams}}
	between := a.StreamSeconds * (1 - a.Busy) / a.Busy
	window := a.WindowHours * 3600
	out.UsedUp = window / 60
	var queue events[action]
	for agent := range a.Agents {
		queue.add(random.Float64()*between, action{agent: agent})
	}
	for queue.len() > 0 {
		now, act := queue.next()
		if now > window {
			break
		}
		clock.seconds = now
		if act.end != nil {
			act.end()
			queue.add(now+random.ExpFloat64()*between, action{agent: act.agent})
			continue
		}
		done, refused := limiter.Stream(ratelimit.Client{Label: "agent"}, rules)
		switch {
		case refused != nil:
			out.Waits++
			queue.add(now+refused.RetryAfter.Seconds()*(1+0.2*random.Float64()), act)
		case out.Turns == int(a.TurnsPerWindow):
			done()
			out.Refused++ // and the agent gives up
		default:
			if out.Turns++; out.Turns == int(a.TurnsPerWindow) {
				out.UsedUp = now / 60
			}
			queue.add(now+random.ExpFloat64()*a.StreamSeconds, action{act.agent, done})
		}
	}
	return out
}

// Exchanges simulates agents for some hours, each of which works on one job after another and
// shows its platform's token at the beginning of each. ttl is how long the client token is
// good, in minutes. It returns the exchanges a second, on average and at most, and the share
// of jobs that outlive their token.
func (in Inputs) Exchanges(agents int, ttl, hours float64, seed uint64) (mean, most, cut float64) {
	random := rand.New(rand.NewPCG(seed, 6))
	var queue events[int]
	for agent := range agents {
		queue.add(random.ExpFloat64()*in.JobMinutes*60, agent)
	}
	jobs, ended, second, inSecond := 0, 0, 0.0, 0.0
	for {
		now, agent := queue.next()
		if now > hours*3600 {
			return float64(jobs) / (hours * 3600), most, float64(ended) / float64(jobs)
		}
		if s := math.Floor(now); s != second {
			second, inSecond = s, 0
		}
		inSecond++
		most = math.Max(most, inSecond)
		jobs++
		job := random.ExpFloat64() * in.JobMinutes * 60
		if job > ttl*60 {
			ended++
		}
		queue.add(now+math.Min(job, ttl*60), agent)
	}
}
