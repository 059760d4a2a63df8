package scale

import (
	"math/rand/v2"
)

// Sharing is how replicas come by a log-in.
type Sharing string

// The ways.
const (
	OneEach    Sharing = "a log-in for each replica"
	OneVolume  Sharing = "one auth.json on a shared volume"
	Copies     Sharing = "copies of one auth.json"
	GivenToAll Sharing = "one identity file, read-only"
)

// Logins simulates so many replicas over time, each of which refreshes margin
// before its access token ends, or a little later, when it is asked. Times are in
// seconds. It returns the refreshes that succeeded and the replicas whose log-in
// is lost: whoever shows a refresh token that was used before ends the log-in.
func Logins(how Sharing, replicas int, lifetime, margin, horizon float64, seed uint64) (refreshes, lost int) {
	if how == GivenToAll {
		return 0, 0 // there is nothing to refresh
	}
	random := rand.New(rand.NewPCG(seed, 3))
	var queue events[int]
	next := func(now float64) float64 { return now + lifetime - margin + random.Float64()*margin/2 }
	shown := make([]int, replicas) // the refresh token that a replica has
	valid, ended := 0, make([]bool, replicas)
	refreshed := 0.0 // the shared file
	for i := range replicas {
		queue.add(next(0), i)
	}
	for queue.len() > 0 {
		now, i := queue.next()
		if now > horizon {
			break
		}
		switch {
		case ended[i]:
			continue
		case how == Copies && shown[i] != valid:
			// The server takes it for stolen, and ends all that came of it.
			for j := range ended {
				ended[j] = true
			}
			continue
		case how == OneVolume && refreshed > 0 && now-refreshed < lifetime-margin:
			queue.add(next(refreshed), i) // another was faster
			continue
		}
		refreshes++
		valid++
		shown[i], refreshed = valid, now
		queue.add(next(now), i)
	}
	for _, e := range ended {
		if e {
			lost++
		}
	}
	return refreshes, lost
}
