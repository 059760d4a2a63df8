//go:build linux

package main

import (
	"fmt"
	"io"
)

// goal is a figure that agentproxy is to reach.
type goal struct {
	work string
	// most says that the figure must not be above the bound; otherwise it must
	// not be below.
	most   bool
	bound  float64
	unit   string
	figure func(r *report) (float64, bool)
}

// reached is what became of a goal.
type reached struct {
	Work     string  `json:"work"`
	Goal     string  `json:"goal"`
	Measured bool    `json:"measured"`
	Figure   float64 `json:"figure"`
	Reached  bool    `json:"reached"`
}

// ratioOf is agentproxy's figure as a multiple of another program's.
func ratioOf(scenario, other, key string) func(*report) (float64, bool) {
	return func(r *report) (float64, bool) { return r.ratio(scenario, agentproxy, other, key) }
}

func figureOf(scenario, key string) func(*report) (float64, bool) {
	return func(r *report) (float64, bool) { return r.figure(scenario, agentproxy, key) }
}

// addedOf is what a program adds to a time without a proxy, in µs.
func addedOf(scenario, program, key string) func(*report) (float64, bool) {
	return func(r *report) (float64, bool) {
		t := r.table(scenario)
		if t == nil {
			return 0, false
		}
		return t.added(program, key)
	}
}

// addedRatio is what agentproxy adds as a multiple of what nginx adds. Less than leastDelay is
// not told apart from none.
func addedRatio(scenario, key string) func(*report) (float64, bool) {
	return func(r *report) (float64, bool) {
		ours, ok := addedOf(scenario, agentproxy, key)(r)
		theirs, okTheirs := addedOf(scenario, nginx, key)(r)
		return max(ours, leastDelay) / max(theirs, leastDelay), ok && okTheirs
	}
}

const leastDelay = 100 // µs

// over returns by how many milliseconds agentproxy takes longer in a scenario than what it
// runs does alone.
func over(scenario string) func(*report) (float64, bool) {
	return func(r *report) (float64, bool) {
		ours, ok := r.figure(scenario, agentproxy, keyWall)
		plain, okPlain := r.figure(scenario, direct, keyWall)
		return ours - plain, ok && okPlain
	}
}

var goals = []goal{
	{work: "turn by WebSocket, 60 agents: CPU against nginx", most: true, bound: 1.1, figure: ratioOf(idTurnWS, nginx, keyTurnCPU)},
	{work: "turn by WebSocket, 250 agents: CPU against nginx", most: true, bound: 1.1, figure: ratioOf(idTurnWSMany, nginx, keyTurnCPU)},
	{work: "turn by events, HTTP/1.1, 60 agents: CPU against nginx", most: true, bound: 1.15, figure: ratioOf(idTurnH1, nginx, keyTurnCPU)},
	{work: "turn by events, HTTP/1.1, 250 agents: CPU against nginx", most: true, bound: 1.15, figure: ratioOf(idTurnH1Many, nginx, keyTurnCPU)},
	{work: "turn by events, HTTP/2, 60 agents: CPU against nginx", most: true, bound: 1.15, figure: ratioOf(idTurnH2, nginx, keyTurnCPU)},
	{work: "event by WebSocket, 60 agents: delay, p99, against nginx", most: true, bound: 1.3, figure: ratioOf(idTurnWS, nginx, keyP99)},
	{work: "event by WebSocket, 250 agents: delay, p99, against nginx", most: true, bound: 1.3, figure: ratioOf(idTurnWSMany, nginx, keyP99)},
	{work: "event over HTTP/1.1, 60 agents: delay, p99, against nginx", most: true, bound: 1.3, figure: ratioOf(idTurnH1, nginx, keyP99)},
	{work: "event over HTTP/1.1, 250 agents: delay, p99, against nginx", most: true, bound: 1.3, figure: ratioOf(idTurnH1Many, nginx, keyP99)},
	{work: "1,000 streams: CPU per event against nginx", most: true, bound: 1.1, figure: ratioOf(idEvents, nginx, keyCPU)},
	{work: "WebSocket echo: CPU against nginx", most: true, bound: 0.95, figure: ratioOf(idEcho, nginx, keyCPU)},
	{work: "3,000 requests/s, HTTP/1.1: added p99", most: true, bound: 500, unit: " µs", figure: addedOf(idRateH1, agentproxy, keyP99)},
	{work: "3,000 requests/s, HTTP/1.1: added p99 against nginx", most: true, bound: 1.5, figure: addedRatio(idRateH1, keyP99)},
	{work: "3,000 requests/s, HTTP/2: added p99", most: true, bound: 500, unit: " µs", figure: addedOf(idRateH2, agentproxy, keyP99)},
	{work: "3,000 requests/s, HTTP/2: added p99 against nginx", most: true, bound: 1.5, figure: addedRatio(idRateH2, keyP99)},
	{work: "live turn by WebSocket: memory against nginx", most: true, bound: 0.6, figure: ratioOf(idLiveWS, nginx, keyEach)},
	{work: "live turn over HTTP/2: memory against nginx", most: true, bound: 0.6, figure: ratioOf(idLiveH2, nginx, keyEach)},
	{work: "idle intercepted connections: memory each", most: true, bound: 17, unit: " kB", figure: figureOf(idIdle, keyEach)},
	{work: "codex exec by way of run: added", most: true, bound: 60, unit: " ms", figure: over(idFirst)},
	{work: "run -- true: time beyond env /bin/true", most: true, bound: 35, unit: " ms", figure: over(idStartUp)},
	{work: "run --isolate off -- true: time beyond env /bin/true", most: true, bound: 20, unit: " ms", figure: over(idStartUpOff)},
	{work: "run -- true: peak RSS", most: true, bound: 25, unit: " MB", figure: figureOf(idStartUp, keyPeakRSS)},
	{work: "tunnel: CPU per MB against copying in user space", most: true, bound: 0.4, figure: ratioOf(idTunnel, copying, keyMBCPU)},
	{work: "keep-alive h1, 16 connections: requests/s against nginx", bound: 0.65, figure: ratioOf(idH1, nginx, keyRate)},
	{work: "keep-alive h2, 16 connections: requests/s against nginx h2", bound: 0.5, figure: ratioOf(idH2, nginx, keyRate)},
	{work: "keep-alive h1: requests/s against squid", bound: 1, figure: ratioOf(idH1, squid, keyRate)},
	{work: "keep-alive h1: requests/s against a bare goproxy", bound: 1, figure: ratioOf(idH1, goproxy, keyRate)},
	{work: "keep-alive h1: requests/s against mitmproxy", bound: 1, figure: ratioOf(idH1, mitmproxy, keyRate)},
	{work: "20 MB download: CPU per MB against a bare goproxy", most: true, bound: 1, figure: ratioOf(idDownload, goproxy, keyMBCPU)},
}

// reach compares the report with the goals.
func (r *report) reach() []reached {
	var all []reached
	for _, g := range goals {
		sign := "≥"
		if g.most {
			sign = "≤"
		}
		result := reached{Work: g.work, Goal: fmt.Sprintf("%s %v%s", sign, g.bound, g.unit)}
		result.Figure, result.Measured = g.figure(r)
		result.Reached = result.Measured && (result.Figure >= g.bound) != g.most || result.Measured && result.Figure == g.bound
		all = append(all, result)
	}
	return all
}

// writeReach prints the goals for people.
func writeReach(w io.Writer, all []reached) {
	fmt.Fprint(w, "\n### What is to be reached\n\n| work | reach | is | |\n| --- | ---: | ---: | --- |\n")
	for _, r := range all {
		figure, verdict := "–", "not measured"
		if r.Measured {
			figure, verdict = formatFigure(r.Figure), "not reached"
		}
		if r.Reached {
			verdict = "reached"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s |\n", r.Work, r.Goal, figure, verdict)
	}
}
