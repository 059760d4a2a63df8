// Package scale says what agentproxy needs for so many agents: a model in closed
// form, and a simulation by discrete events that checks it. docs/scale.md has
// their figures.
package scale

import "math"

// Inputs are what the model is fed with: how agents behave, and what the proxy
// was measured to cost.
type Inputs struct {
	// Of an agent.
	Busy                 float64 // share of the time in which an answer streams
	StreamSeconds        float64 // length of a stream
	EventsPerSecond      float64 // of a stream
	RequestsPerTurn      float64 // short requests besides a stream
	Connections          float64 // held open
	ConnectionsPerMinute float64 // opened

	// Of a team.
	RunawayPerSecond float64 // streams that an agent asks for which runs away
	JobMinutes       float64 // of an agent that is started for a job
	TurnsPerWindow   float64 // that an account's allowance has
	WindowHours      float64

	// Of the proxy, measured.
	MicrosPerRequest       float64
	MicrosPerConnection    float64
	MicrosPerEvent         float64
	KilobytesPerConnection float64 // idle
	KilobytesPerStream     float64 // besides its connection
	MegabytesAtRest        float64

	// Of a replica.
	Cores           float64
	Load            float64 // share of the cores that is planned for
	Megabytes       float64
	MostConnections float64 // limits.connections
	MostTasks       float64 // that are remembered
}

// Need is what a number of agents needs.
type Need struct {
	Agents      int
	Streams     float64 // that run at the same time, at a busy moment
	Events      float64 // a second
	Requests    float64 // a second
	Cores       float64
	Megabytes   float64 // in all replicas
	Connections float64
	Replicas    int
	Binding     string // what the number of replicas is due to
}

// Plan computes what agents need.
func (in Inputs) Plan(agents int) Need {
	n := float64(agents)
	mean := n * in.Busy
	turns := mean / in.StreamSeconds // a second
	need := Need{
		Agents: agents,
		// Agents begin their turns independently of each other: the number
		// of streams is all but normal, and once in a thousand above this.
		Streams:     math.Min(n, math.Ceil(mean+3.1*math.Sqrt(mean*(1-in.Busy)))),
		Requests:    turns * (1 + in.RequestsPerTurn),
		Connections: n * in.Connections,
	}
	need.Events = need.Streams * in.EventsPerSecond
	opened := n * in.ConnectionsPerMinute / 60
	need.Cores = (need.Requests*in.MicrosPerRequest + need.Events*in.MicrosPerEvent + opened*in.MicrosPerConnection) / 1e6
	working := (need.Connections*in.KilobytesPerConnection + need.Streams*in.KilobytesPerStream) / 1024
	need.Replicas = 1
	for _, bound := range []struct {
		name    string
		needed  float64
		replica float64
	}{
		{"cores", need.Cores, in.Cores * in.Load},
		{"memory", working, in.Megabytes - in.MegabytesAtRest},
		{"connections", need.Connections, in.MostConnections},
		{"tasks", n, in.MostTasks},
	} {
		if replicas := int(math.Ceil(bound.needed / bound.replica)); replicas > need.Replicas {
			need.Replicas, need.Binding = replicas, bound.name
		}
	}
	need.Megabytes = working + float64(need.Replicas)*in.MegabytesAtRest
	return need
}
