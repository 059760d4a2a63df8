package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/agentproxy/agentproxy/signer"
)

// serveAdmin serves the admin listener until ctx ends.
func serveAdmin(ctx context.Context, l net.Listener, a *app) error {
	server := &http.Server{
		Handler:           adminHandler(a),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// adminHandler answers how the proxy is. /healthz says that it runs, /readyz
// whether it can sign, and if not, why.
func adminHandler(a *app) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeStatus(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		auth, err := a.signer.Sign(r.Context(), a.probe())
		if err != nil {
			writeStatus(w, http.StatusServiceUnavailable, map[string]string{
				"status": "not ready", "code": string(signer.CodeOf(err)), "message": err.Error(),
			})
			return
		}
		writeStatus(w, http.StatusOK, map[string]string{"status": "ready", "signs": string(auth.Scheme)})
	})
	return localOnly(mux)
}

// localOnly refuses requests for another host than this machine: a web page
// whose name resolves to 127.0.0.1 (DNS rebinding) must not read anything here.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		addr, err := netip.ParseAddr(host)
		_, overSocket := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr)
		if host != "localhost" && (err != nil || !addr.IsLoopback()) && !overSocket {
			writeStatus(w, http.StatusMisdirectedRequest, map[string]string{
				"status": "refused", "message": "this is the admin port of agentproxy; ask for it by a loopback address",
			})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func writeStatus(w http.ResponseWriter, status int, body map[string]string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
