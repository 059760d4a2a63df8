// Package admin serves the admin listener, which says how the proxy is: a page and JSON
// for people and programs, metrics for Prometheus, and probes. It also has the client
// that asks a running proxy.
package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/signer"
)

// maxConns bounds the connections at the admin listener, which anybody on the machine can
// open: whose a connection is, is checked with the first request.
const maxConns = 256

// Serve serves the admin listener l until ctx ends. m counts for the apps of r.
func Serve(ctx context.Context, l net.Listener, r *app.Reloader, m *Metrics) error {
	server := &http.Server{
		Handler:           newHandler(r, m),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ConnContext:       access.Users(nil).ConnContext,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(netutil.LimitListener(l, maxConns)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// newHandler returns the handler of all paths. Only /readyz asks the signers, and may
// register what is missing; the others answer by what is known.
func newHandler(apps *app.Reloader, m *Metrics) http.Handler {
	look := func(ctx context.Context) Status { return look(ctx, apps, m) }
	m.registry.MustRegister(&stateCollector{look})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		a, done := apps.Use()
		defer done()
		scheme, err := a.Ready(r.Context())
		if err != nil {
			writeStatus(w, http.StatusServiceUnavailable, map[string]string{
				"status": "not ready", "code": string(signer.CodeOf(err)), "message": err.Error(),
			})
			return
		}
		writeStatus(w, http.StatusOK, map[string]string{"status": "ready", "signs": string(scheme)})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	newStatusPage(look).add(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, done := apps.Use()
		defer done()
		newGuard(a.Admin, mux).ServeHTTP(w, r)
	})
}

func writeStatus(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
