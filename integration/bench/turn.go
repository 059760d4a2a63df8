//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// The sizes of a turn, in bytes, as Codex has them: what it sends with a question, an
// event of the answer, what it reports afterwards, and the answers to side requests.
const (
	questionSize = 60_000
	eventSize    = 250
	reportSize   = 2_000
	sideSize     = 1_000
)

// opaque are bytes that do not compress, like those of permessage-deflate.
var opaque = func() []byte {
	b := make([]byte, questionSize)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(b)
	return b
}()

// turnKind is how the question of a turn is asked.
type turnKind struct {
	alpn   string // of the connection for side requests, and of the question unless it is a WebSocket
	socket bool
}

// turn is the traffic of one turn of Codex: a connection, three short requests, the
// question, its events, a report, and the end of all connections. A question by WebSocket has
// a connection of its own, which is always one of HTTP/1.1.
type turn struct {
	turnKind
	endpoint *endpoint
	events   int
	gap      time.Duration

	first  time.Duration   // from the question to the first event
	delays []time.Duration // of the other events, from the server's send to the client's receipt
}

// sideClient sends the side requests of a turn.
type sideClient interface {
	get(path string) error
	post(path string, size int) error
	// ask posts the question and has each line of the answer go to line.
	ask(path string, line func([]byte) error) error
	close()
}

// do does the whole turn.
func (t *turn) do(ctx context.Context) error {
	side, err := t.newSide(ctx)
	if err != nil {
		return err
	}
	defer side.close()
	stop := context.AfterFunc(ctx, side.close)
	defer stop()
	for range 3 {
		if err := side.get(pathSide); err != nil {
			return fmt.Errorf("side request: %w", err)
		}
	}
	if t.socket {
		err = t.askSocket(ctx)
	} else {
		err = t.askEvents(side)
	}
	if err != nil {
		return fmt.Errorf("question: %w", err)
	}
	if got := len(t.delays) + 1; got != t.events {
		return fmt.Errorf("an answer had %d events of %d", got, t.events)
	}
	if err := side.post(pathUpload, reportSize); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// query says which events are asked for.
func (t *turn) query() string { return fmt.Sprintf("?events=%d&gap=%s", t.events, t.gap) }

func (t *turn) askEvents(side sideClient) error {
	received, asked := 0, time.Now()
	return side.ask(pathEvents+t.query(), func(line []byte) error {
		sent, ok, err := eventTime(line)
		if !ok || err != nil {
			return err
		}
		if received++; received == 1 {
			t.first = time.Since(asked)
		} else {
			t.delays = append(t.delays, time.Since(epoch)-sent)
		}
		return nil
	})
}

// questionFrame is a question as a client sends it in a compressed text frame, whose mask is
// part of what is opaque (RFC 6455, section 5; RFC 7692).
var questionFrame = slices.Concat([]byte{0xc1, 0x80 | 126, questionSize >> 8, questionSize & 0xff, 1, 2, 3, 4}, opaque)

// closeFrame says that all went well (RFC 6455, section 5.5.1).
var closeFrame = []byte{0x88, 0x80 | 2, 0, 0, 0, 0, 0x03, 0xe8}

func (t *turn) askSocket(ctx context.Context) error {
	conn, err := t.endpoint.dial(ctx, t.endpoint.tlsConfig(alpnH1))
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	s := &socket{conn: conn, reader: bufio.NewReader(conn)}
	if err := s.upgrade(t.endpoint, pathSocket+t.query(), "Sec-WebSocket-Extensions: permessage-deflate"); err != nil {
		return err
	}
	asked := time.Now()
	if _, err := conn.Write(questionFrame); err != nil {
		return err
	}
	payload := make([]byte, eventSize)
	for received := 0; ; received++ {
		var head [4]byte
		if _, err := io.ReadFull(s.reader, head[:2]); err != nil {
			return err
		}
		if head[0] == 0x88 {
			break
		}
		if _, err := io.ReadFull(s.reader, head[2:]); err != nil {
			return err
		}
		if n := binary.BigEndian.Uint16(head[2:]); head[0] != 0xc1 || head[1] != 126 || n != eventSize {
			return fmt.Errorf("a frame begins with %x", head)
		}
		if _, err := io.ReadFull(s.reader, payload); err != nil {
			return err
		}
		if received == 0 {
			t.first = time.Since(asked)
		} else {
			t.delays = append(t.delays, time.Since(epoch)-time.Duration(binary.BigEndian.Uint64(payload)))
		}
	}
	_, err = conn.Write(closeFrame)
	return err
}

func (t *turn) newSide(ctx context.Context) (sideClient, error) {
	if t.alpn == alpnH2 {
		return t.endpoint.newSideH2(ctx)
	}
	conn, err := t.endpoint.dial(ctx, t.endpoint.tlsConfig(alpnH1))
	if err != nil {
		return nil, err
	}
	return &sideH1{t.endpoint, conn, bufio.NewReader(conn)}, nil
}

// sideH1 is a sideClient over HTTP/1.1.
type sideH1 struct {
	endpoint *endpoint
	conn     net.Conn
	reader   *bufio.Reader
}

func (c *sideH1) send(request []byte) (answer, error) {
	if _, err := c.conn.Write(request); err != nil {
		return answer{}, err
	}
	return readAnswer(c.reader)
}

func (c *sideH1) get(path string) error {
	a, err := c.send(c.endpoint.requestBytes("GET", path))
	if err != nil {
		return err
	}
	return a.skip(c.reader)
}

func (c *sideH1) postBytes(path string, size int) []byte {
	return append(c.endpoint.requestBytes("POST", path, "Content-Type: application/json", fmt.Sprintf("Content-Length: %d", size)), opaque[:size]...)
}

func (c *sideH1) post(path string, size int) error {
	a, err := c.send(c.postBytes(path, size))
	if err != nil {
		return err
	}
	return a.skip(c.reader)
}

func (c *sideH1) ask(path string, line func([]byte) error) error {
	a, err := c.send(c.postBytes(path, questionSize))
	if err != nil {
		return err
	}
	if err := eachLine(a.body(c.reader), line); err != nil {
		return err
	}
	if a.chunked {
		return skipTrailer(c.reader)
	}
	return nil
}

func (c *sideH1) close() { c.conn.Close() }

func eachLine(r io.Reader, do func([]byte) error) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if err := do(lines.Bytes()); err != nil {
			return err
		}
	}
	return lines.Err()
}

// sideH2 is a sideClient over HTTP/2.
type sideH2 struct {
	*h2Client
	ctx context.Context
}

func (e *endpoint) newSideH2(ctx context.Context) (sideClient, error) {
	c, err := e.newH2(ctx, pathSide)
	if err != nil {
		return nil, err
	}
	return &sideH2{c, ctx}, nil
}

func (c *sideH2) get(string) error { return c.do() }

func (c *sideH2) send(path string, size int) (*http.Response, error) {
	request, err := http.NewRequestWithContext(c.ctx, http.MethodPost, "https://"+c.request.URL.Host+path, bytes.NewReader(opaque[:size]))
	if err != nil {
		return nil, err
	}
	request.Header = c.request.Header.Clone()
	request.Header.Set("Content-Type", "application/json")
	response, err := c.h2.RoundTrip(request)
	if err == nil && response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, errors.New(response.Status)
	}
	return response, err
}

func (c *sideH2) post(path string, size int) error {
	return c.askSize(path, size, func([]byte) error { return nil })
}

func (c *sideH2) ask(path string, line func([]byte) error) error {
	return c.askSize(path, questionSize, line)
}

func (c *sideH2) askSize(path string, size int, line func([]byte) error) error {
	response, err := c.send(path, size)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return eachLine(response.Body, line)
}

// turns prepares rounds in which so many agents have a turn each, which begin one after another.
func turns(kind turnKind, agents int) func(context.Context, *bench, *instance) (*session, error) {
	return func(ctx context.Context, b *bench, i *instance) (*session, error) {
		return &session{
			round: func(ctx context.Context) (metrics, error) {
				r := turnRound{kind, agents, b.plan.turnEvents, b.plan.turnGap, b.plan.turnOpen * time.Duration(1+agents/200)}
				return r.measure(ctx, i)
			},
			close: func() {},
		}, nil
	}
}

// liveTurns is turns with a fresh instance, for the memory of those that run at the same time.
// Their events are further apart, or the machine would be busy with these alone.
func liveTurns(kind turnKind) func(context.Context, *bench, *instance) (*session, error) {
	return func(ctx context.Context, b *bench, i *instance) (*session, error) {
		p := b.program(i.program)
		fresh, err := b.startInstance(ctx, p, p.name+"-live")
		if err != nil {
			return nil, err
		}
		return &session{
			round: func(ctx context.Context) (metrics, error) {
				if _, err := fresh.get(ctx, pathJSON); err != nil {
					return nil, err
				}
				return b.liveRound(kind).measure(ctx, fresh)
			},
			close: fresh.stop,
		}, nil
	}
}

// liveRound returns the round of liveTurns.
func (b *bench) liveRound(kind turnKind) turnRound {
	open := b.plan.turnOpen * time.Duration(1+b.plan.live/250)
	return turnRound{kind, b.plan.live, int(open*3/2/b.plan.liveGap) + 2, b.plan.liveGap, open}
}

// turnRound is a round of turns.
type turnRound struct {
	kind   turnKind
	agents int
	events int
	gap    time.Duration
	open   time.Duration // over which the turns begin
}

func (r turnRound) measure(ctx context.Context, i *instance) (metrics, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.open+time.Duration(r.events)*r.gap+grace, errors.New("the turns do not end"))
	defer cancel()
	before, err := i.process.usage()
	if err != nil {
		return nil, err
	}
	all := make([]*turn, r.agents)
	failed := make([]error, r.agents)
	var running sync.WaitGroup
	start := time.Now()
	for n := range all {
		t := &turn{turnKind: r.kind, endpoint: &i.endpoint, events: r.events, gap: r.gap, delays: make([]time.Duration, 0, r.events)}
		all[n] = t
		running.Go(func() {
			time.Sleep(time.Until(start.Add(r.open * time.Duration(n) / time.Duration(r.agents))))
			failed[n] = t.do(ctx)
		})
	}
	// When all have begun and none has ended.
	time.Sleep(time.Until(start.Add((r.open + time.Duration(r.events)*r.gap) / 2)))
	during, errDuring := i.process.usage()
	running.Wait()
	after, err := i.process.usage()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err := errors.Join(errDuring, err, first(failed)); err != nil {
		return nil, err
	}
	var firsts, delays []time.Duration
	for _, t := range all {
		firsts = append(firsts, t.first)
		delays = append(delays, t.delays...)
	}
	slices.Sort(firsts)
	slices.Sort(delays)
	m := metrics{
		keyDone:     float64(r.agents * r.events),
		keyFirstP50: micros(quantile(firsts, 0.50)), keyFirstP99: micros(quantile(firsts, 0.99)),
		keyP50: micros(quantile(delays, 0.50)), keyP99: micros(quantile(delays, 0.99)),
	}
	if i.process != nil {
		cpu := after.cpu - before.cpu
		m[keyTurnCPU] = milliseconds(cpu) / float64(r.agents)
		m[keyCPU] = micros(cpu) / float64(r.agents*r.events)
		m[keyRSS] = megabytes(during.rss)
		m[keyEach] = float64(during.rss-before.rss) / 1e3 / float64(r.agents)
	}
	return m, nil
}
