//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"time"
)

// transferBuffer is what is read at once: four TLS records.
const transferBuffer = 64 << 10

// download prepares a connection that downloads.
func download(ctx context.Context, b *bench, i *instance) (*session, error) {
	c, err := i.newH1(ctx, "GET", fmt.Sprintf("%s?bytes=%d", pathDownload, b.plan.transfer))
	if err != nil {
		return nil, err
	}
	c.reader = bufio.NewReaderSize(c.conn, transferBuffer)
	return b.transferSession(i, c), nil
}

// upload prepares a connection that uploads.
func upload(ctx context.Context, b *bench, i *instance) (*session, error) {
	c, err := i.newH1(ctx, "POST", pathUpload,
		"Content-Type: application/octet-stream", fmt.Sprintf("Content-Length: %d", b.plan.transfer))
	if err != nil {
		return nil, err
	}
	c.content = b.plan.transfer
	return b.transferSession(i, c), nil
}

func (b *bench) transferSession(i *instance, c *h1Client) *session {
	return &session{
		round: func(ctx context.Context) (metrics, error) {
			l, err := drive(ctx, []client{c}, b.plan.move, i.process)
			if err != nil {
				return nil, err
			}
			return l.perMegabyte(b.plan.transfer), nil
		},
		close: c.close,
	}
}

// tunnelled prepares a tunnel to the server that sends bytes without end. They
// are not encrypted, so that the cost is the tunnel's.
func tunnelled(ctx context.Context, b *bench, i *instance) (*session, error) {
	dialCtx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := i.tunnel(dialCtx, b.upstream.source)
	if err != nil {
		return nil, err
	}
	// The server waits for this, so that nothing comes before CONNECT's answer
	// has been read.
	if _, err := conn.Write([]byte("\n")); err != nil {
		conn.Close()
		return nil, err
	}
	c := &reading{conn: conn, buffer: make([]byte, 256<<10)}
	return &session{
		round: func(ctx context.Context) (metrics, error) {
			// What has gathered while the others were measured does not count.
			if _, err := drive(ctx, []client{c}, b.plan.move/4, i.process); err != nil {
				return nil, err
			}
			l, err := drive(ctx, []client{c}, b.plan.move, i.process)
			if err != nil {
				return nil, err
			}
			return l.perMegabyte(readingPiece), nil
		},
		close: c.close,
	}, nil
}

// reading reads a piece of what never ends.
type reading struct {
	conn   net.Conn
	buffer []byte
}

var _ client = (*reading)(nil)

const readingPiece = 4_000_000

// do implements client.
func (r *reading) do() error {
	_ = r.conn.SetReadDeadline(time.Now().Add(grace))
	for left := readingPiece; left > 0; {
		n, err := io.ReadFull(r.conn, r.buffer[:min(left, len(r.buffer))])
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}

// close implements client.
func (r *reading) close() { r.conn.Close() }
