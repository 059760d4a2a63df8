//go:build linux

package main

import (
	"fmt"
	"time"
)

// plan says how much is measured. Everything in it is a bound: a run ends by
// itself.
type plan struct {
	name    string
	atMost  time.Duration // the whole run, installation of rivals included
	rounds  int
	request time.Duration // a round of keep-alive requests
	connect time.Duration // a round of new connections
	move    time.Duration // a round of downloads, uploads or a tunnel
	echo    time.Duration // a round of WebSocket echoes
	sign    time.Duration // a round of signing

	streams   int // of server-sent events
	events    int // that each of them carries
	sockets   int // WebSockets
	idle      int // connections that do nothing
	settle    time.Duration
	startUps  int
	transfer  int64         // bytes of a download or an upload
	eventGap  time.Duration // between two events of a stream
	openRound time.Duration // over which the streams of a round begin

	rate       time.Duration // a round at a fixed rate
	turnEvents int           // of a turn
	turnGap    time.Duration // between two of them
	turnOpen   time.Duration // over which turns begin, for each 200 of them
	firstTurns int           // of codex exec
	live       int           // turns at the same time whose memory is measured
	liveGap    time.Duration // between two of their events
}

// planFor returns the plan that the variable BENCH names.
func planFor(name string) (plan, error) {
	full := plan{
		name: "full", atMost: 30 * time.Minute, rounds: 3,
		request: 1200 * time.Millisecond, connect: time.Second, move: 700 * time.Millisecond,
		echo: time.Second, sign: 200 * time.Millisecond,
		streams: 1000, events: 30, sockets: 1000, idle: 10_000, settle: 5 * time.Second, startUps: 20,
		transfer: 20_000_000, eventGap: 50 * time.Millisecond, openRound: time.Second,
		rate: 2 * time.Second, turnEvents: 400, turnGap: 10 * time.Millisecond, turnOpen: time.Second, firstTurns: 8, live: 2000, liveGap: 500 * time.Millisecond,
	}
	switch name {
	case "", "full":
		return full, nil
	case "quick":
		quick := full
		quick.name, quick.atMost, quick.rounds = "quick", 5*time.Minute, 1
		quick.request, quick.connect, quick.move = 700*time.Millisecond, 500*time.Millisecond, 400*time.Millisecond
		quick.echo, quick.sign = 600*time.Millisecond, 50*time.Millisecond
		quick.events, quick.idle, quick.settle, quick.startUps = 20, 2000, time.Second, 7
		quick.rate, quick.turnEvents, quick.turnOpen, quick.firstTurns, quick.live = 500*time.Millisecond, 40, 300*time.Millisecond, 3, 200
		return quick, nil
	default:
		return plan{}, fmt.Errorf("BENCH=%q is neither full nor quick", name)
	}
}
