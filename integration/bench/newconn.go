//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"sync/atomic"
	"time"
)

// connecting makes a connection for every request: TCP, CONNECT where there is a
// proxy, TLS, one request and its answer.
type connecting struct {
	ctx      context.Context
	endpoint *endpoint
	config   *tls.Config
	request  []byte
	counts   *connectionCounts
}

var _ client = (*connecting)(nil)

// connectionCounts are those of all clients of a round.
type connectionCounts struct{ all, resumed atomic.Int64 }

// newConnections prepares 16 clients that connect for every request, with or
// without sessions to resume.
func newConnections(resume bool) func(context.Context, *bench, *instance) (*session, error) {
	return func(ctx context.Context, b *bench, i *instance) (*session, error) {
		counts := &connectionCounts{}
		clients, err := open(ctx, 16, func(context.Context) (*connecting, error) {
			c := &connecting{ctx: ctx, endpoint: &i.endpoint, config: i.tlsConfig(alpnH1), counts: counts}
			c.request = i.requestBytes("GET", pathJSON)
			if resume {
				c.config.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			}
			return c, c.do() // which also gets a session
		})
		if err != nil {
			return nil, err
		}
		return &session{
			round: func(ctx context.Context) (metrics, error) {
				counts.all.Store(0)
				counts.resumed.Store(0)
				l, err := drive(ctx, clients, b.plan.connect, i.process)
				if err != nil {
					return nil, err
				}
				m := l.perRequest()
				m[keyResumed] = 100 * float64(counts.resumed.Load()) / float64(counts.all.Load())
				return m, nil
			},
			close: func() {},
		}, nil
	}
}

// do implements client.
func (c *connecting) do() error {
	conn, err := c.endpoint.dial(c.ctx, c.config)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(grace))
	c.counts.all.Add(1)
	if conn.ConnectionState().DidResume {
		c.counts.resumed.Add(1)
	}
	one := h1Client{conn: conn, reader: bufio.NewReader(conn), request: c.request}
	return one.do()
}

// close implements client. Connections end with their requests.
func (c *connecting) close() {}
