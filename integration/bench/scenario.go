//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// scenario is a kind of work that programs are compared in.
type scenario struct {
	id       string
	title    string
	programs []string
	columns  []column
	// prepare readies an instance for the rounds that follow.
	prepare func(ctx context.Context, b *bench, i *instance) (*session, error)
	// once says that one round is enough: more would say the same.
	once bool
	// paced says that the work comes at times of its own, and not as fast as it is done: what
	// counts of a time is what a program adds to that without a proxy.
	paced bool
	// close says that it takes more rounds to tell the programs apart.
	close bool
}

// measures reports whether a program has a part in s.
func (s *scenario) measures(program string) bool {
	if program == before {
		program = agentproxy
	}
	return slices.Contains(s.programs, program)
}

// session is a scenario with one program, between its rounds.
type session struct {
	round func(ctx context.Context) (metrics, error)
	close func()
}

// The keys of the figures.
const (
	keyDone    = "done" // requests, events, or megabytes
	keyRate    = "per_second"
	keyP50     = "p50_us"
	keyP99     = "p99_us"
	keyCPU     = "cpu_us"
	keyRSS     = "rss_mb"
	keyResumed = "resumed_percent"

	keyMBRate = "mb_per_second"
	keyMBCPU  = "cpu_us_per_mb"

	keyFirstP50 = "first_event_p50_us"
	keyFirstP99 = "first_event_p99_us"

	keyTurnCPU = "cpu_ms_per_turn"

	keyEach    = "kb_each"
	keyWall    = "wall_ms"
	keyCold    = "cold_ms"
	keyFresh   = "fresh_us"
	keyCached  = "cached_us"
	keyAllocs  = "cached_allocs"
	keyPeakRSS = "peak_rss_mb"
)

var (
	requestColumns = []column{
		{keyRate, "requests/s"}, {keyP50, "p50 µs"}, {keyP99, "p99 µs"}, {keyCPU, "CPU µs/request"}, {keyRSS, "RSS MB"},
	}
	connectColumns = []column{
		{keyRate, "connections/s"}, {keyP50, "p50 µs"}, {keyP99, "p99 µs"}, {keyCPU, "CPU µs/connection"},
		{keyResumed, "resumed %"}, {keyRSS, "RSS MB"},
	}
	moveColumns  = []column{{keyMBRate, "MB/s"}, {keyMBCPU, "CPU µs/MB"}, {keyRSS, "RSS MB"}}
	eventColumns = []column{
		{keyFirstP50, "first event p50 µs"}, {keyFirstP99, "p99 µs"}, {keyP50, "event delay p50 µs"}, {keyP99, "p99 µs"},
		{keyCPU, "CPU µs/event"}, {keyRSS, "RSS MB"},
	}
	echoColumns = []column{{keyRate, "echoes/s"}, {keyP50, "p50 µs"}, {keyP99, "p99 µs"}, {keyCPU, "CPU µs/echo"}, {keyRSS, "RSS MB"}}
	turnColumns = []column{
		{keyTurnCPU, "CPU ms/turn"}, {keyFirstP50, "first event p50 µs"}, {keyFirstP99, "p99 µs"}, {keyP50, "event delay p50 µs"}, {keyP99, "p99 µs"},
		{keyRSS, "RSS MB"},
	}
	liveColumns = []column{
		{keyEach, "kB each"}, {keyCPU, "CPU µs/event"}, {keyP50, "event delay p50 µs"}, {keyP99, "p99 µs"}, {keyRSS, "RSS MB"},
	}
	rateColumns    = []column{{keyP50, "p50 µs"}, {keyP99, "p99 µs"}, {keyCPU, "CPU µs/request"}, {keyRSS, "RSS MB"}}
	idleColumns    = []column{{keyEach, "kB each"}, {keyRSS, "RSS MB"}}
	startUpColumns = []column{{keyWall, "ms"}, {keyPeakRSS, "peak RSS MB"}}
	firstColumns   = []column{{keyWall, "ms"}, {keyCold, "the very first, ms"}}
	signColumns    = []column{{keyFresh, "µs, a new second"}, {keyCached, "µs, the same second"}, {keyAllocs, "allocations, the same second"}}

	// The ways in which Codex asks.
	overSocket = turnKind{alpnH1, true}
	overH1     = turnKind{alpnH1, false}
	overH2     = turnKind{alpnH2, false}

	turners  = []string{direct, nginx, agentproxy}
	everyone = []string{direct, nginx, agentproxy, squid, goproxy, mitmproxy}
)

// The ids that the reach table names.
const (
	idH1, idH1Many             = "h1-16", "h1-256"
	idH2, idH2Many             = "h2-16", "h2-256"
	idFull, idResumed          = "connect-full", "connect-resumed"
	idDownload, idUpload       = "download", "upload"
	idEvents, idEcho, idTunnel = "sse", "websocket", "tunnel"
	idIdle, idSign             = "idle", "sign"
	idStartUp, idStartUpOff    = "start-up", "start-up-off"
	idFirst                    = "first-turn"
	idRateH1, idRateH2         = "rate-h1", "rate-h2"
	idTurnWS, idTurnWSMany     = "turn-ws-60", "turn-ws-250"
	idTurnH1, idTurnH1Many     = "turn-sse-60", "turn-sse-250"
	idTurnH2, idTurnH2Many     = "turn-h2-60", "turn-h2-250"
	idLiveWS, idLiveH2         = "live-ws", "live-h2"
)

// scenarios are measured in this order. Those with hundreds of connections leave
// out the programs that need seconds to accept them.
var scenarios = []*scenario{
	{id: "turn-ws-1", title: "A turn by WebSocket, 1 agent", programs: turners, columns: turnColumns, prepare: turns(overSocket, 1), once: true, paced: true},
	{id: idTurnWS, title: "Turns by WebSocket, 60 agents", programs: turners, columns: turnColumns, prepare: turns(overSocket, 60), paced: true},
	{id: idTurnWSMany, title: "Turns by WebSocket, 250 agents", programs: turners, columns: turnColumns, prepare: turns(overSocket, 250), paced: true},
	{id: "turn-sse-1", title: "A turn by POST and server-sent events over HTTP/1.1, 1 agent", programs: turners, columns: turnColumns, prepare: turns(overH1, 1), once: true, paced: true},
	{id: idTurnH1, title: "Turns by POST and server-sent events over HTTP/1.1, 60 agents", programs: turners, columns: turnColumns, prepare: turns(overH1, 60), paced: true},
	{id: idTurnH1Many, title: "Turns by POST and server-sent events over HTTP/1.1, 250 agents", programs: turners, columns: turnColumns, prepare: turns(overH1, 250), paced: true},
	{id: "turn-h2-1", title: "A turn by POST and server-sent events over HTTP/2, 1 agent", programs: turners, columns: turnColumns, prepare: turns(overH2, 1), once: true, paced: true},
	{id: idTurnH2, title: "Turns by POST and server-sent events over HTTP/2, 60 agents", programs: turners, columns: turnColumns, prepare: turns(overH2, 60), paced: true},
	{id: idTurnH2Many, title: "Turns by POST and server-sent events over HTTP/2, 250 agents", programs: turners, columns: turnColumns, prepare: turns(overH2, 250), paced: true},
	{id: idLiveWS, title: "Live turns by WebSocket", programs: []string{nginx, agentproxy}, columns: liveColumns, prepare: liveTurns(overSocket), once: true, paced: true},
	{id: idLiveH2, title: "Live turns by POST over HTTP/2", programs: []string{nginx, agentproxy}, columns: liveColumns, prepare: liveTurns(overH2), once: true, paced: true},
	{id: idRateH1, title: "3,000 requests/s of 1 kB, 32 connections, HTTP/1.1", programs: turners, columns: rateColumns, prepare: fixedRateOver(alpnH1), paced: true},
	{id: idRateH2, title: "3,000 requests/s of 1 kB, 32 connections, HTTP/2", programs: turners, columns: rateColumns, prepare: fixedRateOver(alpnH2), paced: true},
	{id: idH1, title: "Keep-alive GET, HTTP/1.1, 16 connections", programs: everyone, columns: requestColumns, prepare: keepAliveH1(16), close: true},
	{id: idH1Many, title: "Keep-alive GET, HTTP/1.1, 256 connections", programs: []string{direct, nginx, agentproxy, squid}, columns: requestColumns, prepare: keepAliveH1(256)},
	{id: idH2, title: "Keep-alive GET, HTTP/2, 16 connections", programs: []string{direct, nginx, agentproxy, mitmproxy}, columns: requestColumns, prepare: keepAliveH2(16), close: true},
	{id: idH2Many, title: "Keep-alive GET, HTTP/2, 256 connections", programs: []string{direct, nginx, agentproxy}, columns: requestColumns, prepare: keepAliveH2(256), close: true},
	{id: idFull, title: "A new connection for each request, full handshakes", programs: everyone, columns: connectColumns, prepare: newConnections(false)},
	{id: idResumed, title: "A new connection for each request, resumed handshakes", programs: everyone, columns: connectColumns, prepare: newConnections(true)},
	{id: idDownload, title: "Downloads of 20 MB, one after another", programs: everyone, columns: moveColumns, prepare: download, close: true},
	{id: idUpload, title: "Uploads of 20 MB, one after another", programs: everyone, columns: moveColumns, prepare: upload},
	{id: idEvents, title: "Server-sent events, 1,000 streams, an event each 50 ms", programs: []string{direct, nginx, agentproxy, squid}, columns: eventColumns, prepare: events, paced: true},
	{id: idEcho, title: "WebSocket echo, 1,000 sockets", programs: []string{direct, nginx, agentproxy}, columns: echoColumns, prepare: echo},
	{id: "usage-sse", title: "Answers of the model by server-sent events, 1,000 streams, without and with usage.file", programs: []string{agentproxy, withUsage}, columns: eventColumns, prepare: answers, close: true},
	{id: "usage-ws", title: "Answers of the model by WebSocket with compression, 200 sockets, without and with usage.file", programs: []string{agentproxy, withUsage}, columns: echoColumns, prepare: answersBySocket, close: true},
	{id: idTunnel, title: "A tunnel to another host", programs: []string{agentproxy, copying}, columns: moveColumns, prepare: tunnelled, close: true},
	{id: idIdle, title: "Idle connections, intercepted, after one request", programs: []string{nginx, agentproxy}, columns: idleColumns, prepare: idle, once: true},
	{id: idStartUp, title: "Start-up: run -- true, and env /bin/true (direct)", programs: []string{direct, agentproxy}, columns: startUpColumns, prepare: startUp("auto"), once: true},
	{id: idStartUpOff, title: "Start-up without isolation: run --isolate off -- true, and env /bin/true (direct)", programs: []string{direct, agentproxy}, columns: startUpColumns, prepare: startUp("off"), once: true},
	{id: idFirst, title: "A turn with codex exec: by way of run, and alone (direct)", programs: []string{direct, agentproxy}, columns: firstColumns, prepare: firstTurn, once: true},
	{id: idSign, title: "Signing alone", programs: []string{agentproxy}, columns: signColumns, prepare: signing},
}

// measure runs the scenarios. A program that fails in one has no figures there.
func (b *bench) measure(ctx context.Context, selected []*scenario) (*report, error) {
	r := newReport(b)
	for _, s := range selected {
		began := time.Now()
		table := b.measureScenario(ctx, s)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		r.tables = append(r.tables, table)
		b.logf("%s: %.1f s", s.id, time.Since(began).Seconds())
	}
	return r, nil
}

func (b *bench) measureScenario(ctx context.Context, s *scenario) *table {
	t := &table{scenario: s}
	sessions := make(map[*row]*session)
	defer func() {
		for _, open := range sessions {
			open.close()
		}
	}()
	for _, p := range b.programs {
		if !s.measures(p.name) {
			continue
		}
		row := &row{program: p.name, missing: p.missing, rounds: make(map[string][]float64)}
		t.rows = append(t.rows, row)
		if p.missing != "" {
			continue
		}
		open, err := s.prepare(ctx, b, p.instance)
		if errors.Is(err, errNoCodex) {
			row.missing = err.Error()
			continue
		}
		if err != nil {
			row.fail(err)
			continue
		}
		sessions[row] = open
	}
	rounds := b.plan.rounds
	switch {
	case s.once:
		rounds = 1
	case s.close:
		rounds *= 2
	}
	for range rounds {
		for _, row := range t.rows {
			open := sessions[row]
			if open == nil || row.failure != "" || ctx.Err() != nil {
				continue
			}
			m, err := open.round(ctx)
			if err != nil && ctx.Err() == nil && !row.again {
				// A rival that closes a connection now and then is measured all the same.
				b.logf("%s: %s: once more after: %s", s.id, row.program, err)
				row.again = true
				open.close()
				delete(sessions, row)
				if open, err = s.prepare(ctx, b, b.program(row.program).instance); err == nil {
					sessions[row] = open
					m, err = open.round(ctx)
				}
			}
			if err != nil {
				row.fail(err)
				continue
			}
			row.add(m)
		}
	}
	for _, row := range t.rows {
		if row.failure != "" && ctx.Err() == nil {
			b.logf("%s: %s", s.id, fmt.Sprintf("%s: %s", row.program, row.failure))
		}
	}
	return t
}
