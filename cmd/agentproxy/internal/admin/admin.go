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

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/access/exchange"
	"github.com/agentproxy/agentproxy/signer"
)

const (
	// maxConns bounds the connections at the admin listener, which anybody on the machine
	// can open, and connsPerClient those of one user or address.
	maxConns       = 256
	connsPerClient = 64
	// maxHeader bounds the header of a request, in bytes. net/http adds 4 KiB.
	maxHeader = 16 << 10
)

// Serve serves the admin listener l until ctx ends. m are the metrics of the apps of r, and
// tokens answers workloads.
func Serve(ctx context.Context, l net.Listener, r *app.Reloader, m *Metrics, tokens http.Handler) error {
	return serve(ctx, l, newHandler(r, m, tokens), func() access.Users {
		a, done := r.Use()
		defer done()
		return a.Admin.Users
	}, r.LogPanic)
}

// serve serves l until ctx ends. users returns whom handler would let in now: the others
// are turned away before their requests are read. panicked is told of panics.
func serve(ctx context.Context, l net.Listener, handler http.Handler, users func() access.Users, panicked func(*contain.PanicError)) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    maxHeader,
	}
	return access.Gate{Users: users, PerClient: connsPerClient, Refusal: turnedAway, Panicked: panicked}.Serve(ctx, l, server, maxConns)
}

// newHandler returns the handler of all paths. Only /readyz asks the signers, and may
// register what is missing; the others answer by what is known.
func newHandler(apps *app.Reloader, m *Metrics, tokens http.Handler) http.Handler {
	look := func(ctx context.Context) Status { return look(ctx, apps, m) }
	m.registry.MustRegister(&stateCollector{look})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		a, done := apps.Use()
		defer done()
		if p := apps.Proxy(); p != nil && p.OutOfDescriptors() {
			writeStatus(w, http.StatusServiceUnavailable, map[string]string{
				"status": "not ready", "code": "out_of_descriptors", "message": "clients cannot connect, because the system has no descriptor for them; raise the limit (LimitNOFILE=, ulimit -n), or lower limits.connections",
			})
			return
		}
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
		// A workload proves who it is by a token of its own. Without admin_token other
		// users do not come this far.
		if r.URL.Path == exchange.Path && len(a.Config.Exchange.Issuers) > 0 {
			tokens.ServeHTTP(w, r)
			return
		}
		guard(a.Admin, mux).ServeHTTP(w, r)
	})
}

// turnedAway returns the response to a connection that is not served.
func turnedAway(why error) access.Refusal {
	status, message := http.StatusForbidden, forOwnUser(why)
	if errors.Is(why, access.ErrTooMany) {
		status, message = http.StatusServiceUnavailable, why.Error()
	}
	body, _ := json.Marshal(map[string]string{"status": "refused", "message": message})
	return access.Refusal{Status: status, Body: body}
}

func writeStatus(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
