package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/signer"
)

// maxAdminConns bounds the connections at the admin listener, which anybody on the
// machine can open: who it is that connects is looked at with the first request.
const maxAdminConns = 256

// serveAdmin serves the admin listener until ctx ends.
func serveAdmin(ctx context.Context, l net.Listener, r *reloader) error {
	server := &http.Server{
		Handler:           adminHandler(r),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		ConnContext:       access.Users(nil).ConnContext,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(netutil.LimitListener(l, maxAdminConns)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// adminHandler answers how the proxy is. /healthz says that it runs, /readyz
// whether it can sign, and if not, why, and /metrics counts for Prometheus. / shows
// all of it to people.
func adminHandler(apps *reloader) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		a, done := apps.use()
		defer done()
		scheme, err := a.ready(r.Context())
		if err != nil {
			writeStatus(w, http.StatusServiceUnavailable, map[string]string{
				"status": "not ready", "code": string(signer.CodeOf(err)), "message": err.Error(),
			})
			return
		}
		writeStatus(w, http.StatusOK, map[string]string{"status": "ready", "signs": string(scheme)})
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(apps.metrics.registry, promhttp.HandlerOpts{}))
	newStatusPage(apps.look).add(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, done := apps.use()
		defer done()
		newAdminGuard(a.config.adminEntrance, mux).ServeHTTP(w, r)
	})
}

func writeStatus(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
