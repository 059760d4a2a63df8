//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/sha1" // of the handshake of WebSockets
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// pace says when events are sent.
type pace struct {
	events int
	gap    time.Duration
}

func paceOf(query url.Values) (pace, error) {
	events, err := strconv.Atoi(query.Get("events"))
	gap, errGap := time.ParseDuration(query.Get("gap"))
	return pace{events, gap}, errors.Join(err, errGap)
}

// each calls send for each event. The first comes at once. The second comes after a part of
// the gap, so that streams which began together do not go on in step.
func (p pace) each(ctx context.Context, send func() error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for i := range p.events {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := send(); err != nil {
			return err
		}
		next = next.Add(p.gap)
		if i == 0 {
			next = time.Now().Add(rand.N(p.gap))
		}
		timer.Reset(time.Until(next))
	}
	return nil
}

// serveEvents reads the request and answers it with events that carry the time when they are
// sent, as many as the query says.
func serveEvents(w http.ResponseWriter, r *http.Request) {
	p, err := paceOf(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	event := make([]byte, 0, eventSize)
	_ = p.each(r.Context(), func() error {
		event = fmt.Appendf(event[:0], "event: response.output_text.delta\ndata: {\"sent\":%d,\"delta\":\" word\",\"item_id\":\"msg_0123456789\",\"padding\":\"", time.Since(epoch))
		for len(event) < eventSize-4 {
			event = append(event, 'x')
		}
		if _, err := w.Write(append(event, "\"}\n\n"...)); err != nil {
			return err
		}
		return flusher.Flush()
	})
}

// serveTurn upgrades to a WebSocket, reads a question, and answers it with frames that look
// like compressed ones. Each begins with the time when it is sent.
func serveTurn(w http.ResponseWriter, r *http.Request) {
	p, err := paceOf(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	conn, rw, end := acceptSocket(w, r)
	if conn == nil {
		return
	}
	defer end()
	if _, err := io.CopyN(io.Discard, rw, int64(len(questionFrame))); err != nil {
		return
	}
	frame := append([]byte{0xc1, 126, eventSize >> 8, eventSize & 0xff}, opaque[:eventSize]...)
	if p.each(r.Context(), func() error {
		binary.BigEndian.PutUint64(frame[4:], uint64(time.Since(epoch)))
		_, err := conn.Write(frame)
		return err
	}) != nil {
		return
	}
	if _, err := conn.Write([]byte{0x88, 2, 0x03, 0xe8}); err == nil {
		_, _ = io.CopyN(io.Discard, rw, int64(len(closeFrame)))
	}
}

// acceptSocket upgrades to a WebSocket with compression (RFC 6455, section 4.2.2). conn is nil
// if it could not; end must be called otherwise.
func acceptSocket(w http.ResponseWriter, r *http.Request) (conn net.Conn, rw *bufio.ReadWriter, end func()) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, nil
	}
	stop := context.AfterFunc(r.Context(), func() { conn.Close() })
	end = func() {
		stop()
		conn.Close()
	}
	key := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Accept: %s\r\n\r\n", base64.StdEncoding.EncodeToString(key[:])); err != nil {
		end()
		return nil, nil, nil
	}
	return conn, rw, end
}
