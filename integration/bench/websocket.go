//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// socket sends a message over a WebSocket and waits for it to come back.
type socket struct {
	conn   net.Conn
	reader *bufio.Reader
	frame  []byte // what is sent
	want   []byte // what must come back
	got    []byte
}

var _ client = (*socket)(nil)

// messageSize is at most 125, so that a frame's header has its shortest form.
const messageSize = 100

// echo prepares as many WebSockets as the plan has. All of them send at once,
// each as soon as its last message is back.
func echo(ctx context.Context, b *bench, i *instance) (*session, error) {
	clients, err := open(ctx, b.plan.sockets, i.newSocket)
	if err != nil {
		return nil, err
	}
	return &session{
		round: func(ctx context.Context) (metrics, error) {
			l, err := drive(ctx, clients, b.plan.echo, i.process)
			if err != nil {
				return nil, err
			}
			return l.perRequest(), nil
		},
		close: func() { closeAll(clients) },
	}, nil
}

func (e *endpoint) newSocket(ctx context.Context) (*socket, error) {
	conn, err := e.dial(ctx, e.tlsConfig(alpnH1))
	if err != nil {
		return nil, err
	}
	s := &socket{conn: conn, reader: bufio.NewReaderSize(conn, 512)}
	_ = conn.SetDeadline(time.Now().Add(connectTimeout))
	if err := s.upgrade(e, pathSocket); err != nil {
		conn.Close()
		return nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	s.frame, s.want = frames(bytes.Repeat([]byte("x"), messageSize))
	s.got = make([]byte, len(s.want))
	return s, nil
}

// upgrade makes a WebSocket of the connection (RFC 6455, section 4).
func (s *socket) upgrade(e *endpoint, path string, headers ...string) error {
	request := e.requestBytes("GET", path, append(headers, "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==")...)
	if _, err := s.conn.Write(request); err != nil {
		return err
	}
	line, err := s.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 101")) {
		return fmt.Errorf("the answer to the upgrade begins with %.80q", line)
	}
	return skipTrailer(s.reader)
}

// frames returns a text message as a client sends it and as a server does
// (RFC 6455, section 5).
func frames(message []byte) (client, server []byte) {
	mask := [4]byte{0x17, 0x2b, 0x3d, 0x4f}
	client = append([]byte{0x81, 0x80 | byte(len(message))}, mask[:]...)
	for i, c := range message {
		client = append(client, c^mask[i%4])
	}
	return client, append([]byte{0x81, byte(len(message))}, message...)
}

var errEcho = errors.New("another message came back than was sent")

// do implements client.
func (s *socket) do() error {
	if _, err := s.conn.Write(s.frame); err != nil {
		return err
	}
	if _, err := io.ReadFull(s.reader, s.got); err != nil {
		return err
	}
	if !bytes.Equal(s.got, s.want) {
		return errEcho
	}
	return nil
}

// close implements client.
func (s *socket) close() { s.conn.Close() }
