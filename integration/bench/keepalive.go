//go:build linux

package main

import "context"

// keepAliveH1 prepares n connections that send one request after another.
func keepAliveH1(n int) func(context.Context, *bench, *instance) (*session, error) {
	return func(ctx context.Context, b *bench, i *instance) (*session, error) {
		clients, err := open(ctx, n, func(ctx context.Context) (*h1Client, error) { return i.newH1(ctx, "GET", pathJSON) })
		if err != nil {
			return nil, err
		}
		return b.requestSession(i, clients), nil
	}
}

// keepAliveH2 is keepAliveH1 over HTTP/2, with one stream at a time on each
// connection.
func keepAliveH2(n int) func(context.Context, *bench, *instance) (*session, error) {
	return func(ctx context.Context, b *bench, i *instance) (*session, error) {
		clients, err := open(ctx, n, func(openCtx context.Context) (*h2Client, error) {
			c, err := i.newH2(openCtx, pathJSON)
			if err == nil {
				c.request = c.request.WithContext(ctx) // requests outlive the opening
			}
			return c, err
		})
		if err != nil {
			return nil, err
		}
		return b.requestSession(i, clients), nil
	}
}

// requestSession is a session whose rounds are clients that do requests. A short
// round that does not count warms up what is behind them.
func (b *bench) requestSession(i *instance, clients []client) *session {
	warm := false
	return &session{
		round: func(ctx context.Context) (metrics, error) {
			if !warm {
				if _, err := drive(ctx, clients, b.plan.request/4, i.process); err != nil {
					return nil, err
				}
				warm = true
			}
			l, err := drive(ctx, clients, b.plan.request, i.process)
			if err != nil {
				return nil, err
			}
			return l.perRequest(), nil
		},
		close: func() { closeAll(clients) },
	}
}
