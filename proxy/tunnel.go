package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/cut"
	"github.com/agentproxy/agentproxy/proxy/internal/failure"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

const connectEstablished = "HTTP/1.1 200 Connection established\r\n\r\n"

// tunnel connects client to the exchange's target and copies bytes both ways until
// both sides have ended, one of them fails, or ctx ends. Nothing is copied any more when it
// returns. Another goroutine may still be closing both, if ctx has ended.
func tunnel(ctx context.Context, client net.Conn, x *exchange) {
	defer client.Close()
	server, err := x.policy.upstream.DialTunnel(ctx, x.target)
	if err != nil {
		refused := failure.Upstream(x.target.Authority(), err)
		x.refuseWith(refused)
		x.status = refused.Status
		_ = client.SetWriteDeadline(time.Now().Add(refusalTimeout))
		_, _ = client.Write(refused.Bytes())
		return
	}
	defer server.Close()
	x.server.Store(&server)
	if _, err := io.WriteString(client, connectEstablished); err != nil {
		x.failure = "the client is gone"
		x.culprit.Name(cut.Client)
		return
	}
	x.status = http.StatusOK
	defer context.AfterFunc(ctx, func() { contain.Do(x.Panicked, func() { _, _ = client.Close(), server.Close() }) })()

	broken := func(dst, src net.Conn, err error) {
		x.culprit.Tunnel(dst, src, err, func(c net.Conn) string {
			if c == client {
				return cut.Client
			}
			return cut.Server
		})
	}
	up := make(chan error, 1)
	go func() {
		n, err := pipe(server, client, broken, x.Panicked)
		x.received.Add(n)
		up <- err
	}()
	n, err := pipe(client, server, broken, x.Panicked)
	x.sent.Add(n)
	if upErr := <-up; err == nil {
		err = upErr
	}
	switch {
	case ctx.Err() != nil:
		x.failure = context.Cause(ctx).Error()
		x.culprit.Set(cut.Proxy)
	case err != nil:
		x.failure = "cut"
	}
}

// pipe copies from src to dst and half closes dst at the end. It tells broken of an error
// while both are open, and panicked of a panic, which is one. Neither side is
// wrapped, so that between two sockets the kernel does the copying (splice(2)).
func pipe(dst, src net.Conn, broken func(dst, src net.Conn, err error), panicked func(*contain.PanicError)) (int64, error) {
	n, err := contain.Call(panicked, func() (int64, error) { return io.Copy(dst, src) })
	if err != nil {
		broken(dst, src, err)
		// The other direction must not wait for a side that is gone.
		dst.Close()
		src.Close()
		return n, err
	}
	if err = netconn.CloseWrite(dst); err != nil {
		broken(dst, dst, err)
	}
	return n, err
}
