package backend

import (
	"context"
	"net/http/httptrace"
	"sync"
)

// endingUnsent returns the context of a request that must not be given up once the server
// may have read it. It ends with ctx only while the request waits for a connection. A
// transport that does not tell [httptrace.ClientTrace] of that is never interrupted.
func endingUnsent(ctx context.Context) (_ context.Context, release func()) {
	own, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var (
		mu   sync.Mutex // transports may call from several goroutines
		stop = func() bool { return true }
	)
	own = httptrace.WithClientTrace(own, &httptrace.ClientTrace{
		GetConn: func(string) {
			mu.Lock()
			defer mu.Unlock()
			stop()
			stop = context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
		},
		GotConn: func(got httptrace.GotConnInfo) {
			mu.Lock()
			defer mu.Unlock()
			if !stop() {
				cancel(context.Cause(ctx))
				got.Conn.Close() // or some of the request might be sent
			}
		},
	})
	return own, func() {
		mu.Lock()
		defer mu.Unlock()
		stop()
		cancel(nil)
	}
}
