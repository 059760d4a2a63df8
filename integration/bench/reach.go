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

// addedDelay is by how much more than without a proxy agentproxy delays the
// slowest of a hundred events, as a multiple of what nginx adds. Less than
// leastDelay is not told apart from none.
func addedDelay(r *report) (float64, bool) {
	without, ok := r.figure(idEvents, direct, keyP99)
	ours, okOurs := r.figure(idEvents, agentproxy, keyP99)
	theirs, okTheirs := r.figure(idEvents, nginx, keyP99)
	if !ok || !okOurs || !okTheirs {
		return 0, false
	}
	return max(ours-without, leastDelay) / max(theirs-without, leastDelay), true
}

const leastDelay = 100 // µs

// startUpOver is by how many milliseconds run takes longer than twice what
// env /bin/true does.
func startUpOver(r *report) (float64, bool) {
	ours, ok := r.figure(idStartUp, agentproxy, keyWall)
	plain, okPlain := r.figure(idStartUp, direct, keyWall)
	return ours - 2*plain, ok && okPlain
}

var goals = []goal{
	{work: "keep-alive h1, 16 connections: requests/s against nginx", bound: 0.85, figure: ratioOf(idH1, nginx, keyRate)},
	{work: "the same: CPU per request against nginx", most: true, bound: 1.5, figure: ratioOf(idH1, nginx, keyCPU)},
	{work: "keep-alive h2, 16 connections: requests/s against nginx h2", bound: 0.75, figure: ratioOf(idH2, nginx, keyRate)},
	{work: "keep-alive h2, 256 connections: requests/s against nginx h2", bound: 0.75, figure: ratioOf(idH2Many, nginx, keyRate)},
	{work: "new connection each, full: requests/s against nginx", bound: 0.6, figure: ratioOf(idFull, nginx, keyRate)},
	{work: "new connection each, resumed: requests/s against nginx", bound: 0.6, figure: ratioOf(idResumed, nginx, keyRate)},
	{work: "keep-alive h1: requests/s against squid", bound: 1.3, figure: ratioOf(idH1, squid, keyRate)},
	{work: "keep-alive h1: requests/s against mitmproxy", bound: 15, figure: ratioOf(idH1, mitmproxy, keyRate)},
	{work: "keep-alive h1: requests/s against a bare goproxy", bound: 7, figure: ratioOf(idH1, goproxy, keyRate)},
	{work: "20 MB download: MB/s against direct", bound: 0.55, figure: ratioOf(idDownload, direct, keyMBRate)},
	{work: "20 MB download: CPU per MB against a bare goproxy", most: true, bound: 0.9, figure: ratioOf(idDownload, goproxy, keyMBCPU)},
	{work: "tunnel: CPU per MB against copying in user space", most: true, bound: 0.4, figure: ratioOf(idTunnel, copying, keyMBCPU)},
	{work: "SSE, 1,000 streams: added delay per event, p99, against nginx", most: true, bound: 2, figure: addedDelay},
	{work: "idle intercepted connections: memory each", most: true, bound: 30, unit: " kB", figure: figureOf(idIdle, keyEach)},
	{work: "run -- true: time beyond 2 × env /bin/true", most: true, bound: 30, unit: " ms", figure: startUpOver},
	{work: "run -- true: peak RSS", most: true, bound: 25, unit: " MB", figure: figureOf(idStartUp, keyPeakRSS)},
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
