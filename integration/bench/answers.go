//go:build linux

package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"time"
)

// answersQuery asks for answers of the model over a WebSocket.
const answersQuery = "answers"

// completed is the end of an answer of the model, which says what it used.
const completed = `{"type":"response.completed","response":{"id":"resp_0123456789","model":"bench","usage":{"input_tokens":1234,` +
	`"input_tokens_details":{"cached_tokens":1000},"output_tokens":56,"total_tokens":1290}}}`

// readTime is longer than it takes until agentproxy has read along what it has sent.
const readTime = 1500 * time.Millisecond

// answers prepares streams as [events] does, which are answers of the model: those that
// usage.file has agentproxy read along.
func answers(ctx context.Context, b *bench, i *instance) (*session, error) {
	return b.eventsOf(ctx, i, "POST", pathSocket, "Accept: text/event-stream", "Content-Length: 0")
}

// serveAnswer is serveEvents with the end of an answer.
func serveAnswer(w http.ResponseWriter, r *http.Request) {
	serveEvents(w, r)
	_, _ = fmt.Fprintf(w, "event: response.completed\ndata: %s\n\n", completed)
}

// answersBySocket prepares WebSockets that send a message, and get an event of an answer for
// it, compressed with what went before, as Codex's are.
func answersBySocket(ctx context.Context, b *bench, i *instance) (*session, error) {
	clients, err := open(ctx, b.plan.sockets/5, i.newAnswerSocket)
	if err != nil {
		return nil, err
	}
	return &session{
		round: func(ctx context.Context) (metrics, error) {
			before, err := i.process.usage()
			if err != nil {
				return nil, err
			}
			l, err := drive(ctx, clients, b.plan.echo, i.process)
			if err != nil {
				return nil, err
			}
			// Until what was sent is read, which counts.
			time.Sleep(readTime)
			after, err := i.process.usage()
			if err != nil {
				return nil, err
			}
			l.cpu = after.cpu - before.cpu
			return l.perRequest(), nil
		},
		close: func() { closeAll(clients) },
	}, nil
}

// answerSocket is a [socket] that does not look at what comes back.
type answerSocket struct{ *socket }

func (e *endpoint) newAnswerSocket(ctx context.Context) (*answerSocket, error) {
	conn, err := e.dial(ctx, e.tlsConfig(alpnH1))
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, reader: bufio.NewReaderSize(conn, 4096)}
	_ = conn.SetDeadline(time.Now().Add(connectTimeout))
	if err := s.upgrade(e, pathSocket+"?"+answersQuery, "Sec-WebSocket-Extensions: permessage-deflate"); err != nil {
		conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	s.frame, _ = frames(bytes.Repeat([]byte("x"), messageSize))
	return &answerSocket{s}, nil
}

// do implements client.
func (s *answerSocket) do() error {
	if _, err := s.conn.Write(s.frame); err != nil {
		return err
	}
	head, err := s.reader.Peek(2)
	if err != nil {
		return err
	}
	size := 2 + int(head[1])
	if head[1] == 126 {
		if head, err = s.reader.Peek(4); err != nil {
			return err
		}
		size = 4 + int(head[2])<<8 + int(head[3])
	}
	if head[0] != 0xc1 {
		return fmt.Errorf("a frame begins with %x, and is no compressed text", head)
	}
	_, err = s.reader.Discard(size)
	return err
}

// serveAnswers answers each message with an event, of which each thirtieth ends an answer.
// They are compressed at the default level, which as zlib does at any level takes the fixed
// codes for what is short. The fastest level of compress/flate makes codes for each message,
// which take ten times longer to read than all the rest of it.
func serveAnswers(w http.ResponseWriter, r *http.Request) {
	conn, rw, end := acceptSocket(w, r)
	if conn == nil {
		return
	}
	defer end()
	var packed bytes.Buffer
	z, _ := flate.NewWriter(&packed, flate.DefaultCompression)
	question, _ := frames(bytes.Repeat([]byte("x"), messageSize))
	var event, frame []byte
	for n := 1; ; n++ {
		if _, err := io.CopyN(io.Discard, rw, int64(len(question))); err != nil {
			return
		}
		event = fmt.Appendf(event[:0], `{"type":"response.output_text.delta","sequence_number":%d,"item_id":"msg_0123456789","output_index":0,"delta":" word%x","obfuscation":"%x"}`, n, n*7919, n*104729)
		if n%30 == 0 {
			event = append(event[:0], completed...)
		}
		packed.Reset()
		if _, err := z.Write(event); err != nil {
			return
		}
		if err := z.Flush(); err != nil {
			return
		}
		payload := bytes.TrimSuffix(packed.Bytes(), []byte{0x00, 0x00, 0xff, 0xff}) // RFC 7692, section 7.2.1
		if frame = append(frame[:0], 0xc1, byte(len(payload))); len(payload) > 125 {
			frame = binary.BigEndian.AppendUint16(append(frame[:1], 126), uint16(len(payload)))
		}
		if _, err := conn.Write(append(frame, payload...)); err != nil {
			return
		}
	}
}
