//go:build linux

package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/upstream"
	"github.com/agentproxy/agentproxy/signer"
)

// profiledConfig is what the profiled proxy is told.
type profiledConfig struct {
	Listen, PProf    string // addresses
	Upstream, CAFile string
	Dir              string // of its CA
}

// profiledVariable holds a profiledConfig, and has this program be that proxy.
const profiledVariable = "BENCH_PROFILED"

// startProfiled starts this program as a proxy with a profiler, whose URL is
// returned.
func (b *bench) startProfiled(ctx context.Context) (*instance, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	dir := filepath.Join(b.dir, "profiled")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, "", err
	}
	c := profiledConfig{Upstream: b.upstream.address, CAFile: b.ca.certFile, Dir: dir}
	var errPProf error
	c.Listen, err = freeAddress()
	c.PProf, errPProf = freeAddress()
	if err := errors.Join(err, errPProf); err != nil {
		return nil, "", err
	}
	config, err := json.Marshal(c)
	if err != nil {
		return nil, "", err
	}
	i, err := launch(ctx, dir, agentproxyEndpoint(c.Listen), append(cleanEnviron(dir), profiledVariable+"="+string(config)), self)
	if err != nil {
		return nil, "", err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca", "ca.pem"))
	if err != nil {
		i.stop()
		return nil, "", err
	}
	i.roots = roots(ca)
	return i, "http://" + c.PProf, nil
}

// serveProfiled is agentproxy serve, with the parts that the release binary puts
// together and a profiler. It ends with the process.
func serveProfiled(config string) error {
	var c profiledConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	caPEM, err := os.ReadFile(c.CAFile)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caPEM)
	leaves, err := certs.Open(certs.Config{Dir: filepath.Join(c.Dir, "ca"), Hosts: []string{chatgptHost}, Now: time.Now})
	if err != nil {
		return err
	}
	intercept, err := hosts.ParsePattern(chatgptHost)
	if err != nil {
		return err
	}
	sessions, err := newFixedSession()
	if err != nil {
		return err
	}
	scope, _, err := signer.NewScope(signer.ScopeConfig{
		BaseURL: "https://" + chatgptHost + "/backend-api", Allow: []signer.ScopeEntry{{Word: signer.WordCodex}},
	})
	if err != nil {
		return err
	}
	assertion := signer.NewAgentAssertion(sessions, time.Now)
	limits := access.DefaultLimits()
	limits.Connections, limits.ConnectionsPerLabel, limits.RequestsPerLabel = 20000, 15000, 15000
	p := proxy.New(proxy.Config{
		Intercept:   hosts.Patterns{intercept},
		Signer:      signer.Bootstrap{Bearer: assertion, Next: assertion},
		Scope:       scope,
		Leaves:      leaves,
		Limits:      limits,
		ObserveDate: backend.NewClock(nil, nil).Observe,
		Log:         zerolog.New(os.Stderr).Level(zerolog.ErrorLevel),
		Upstream: upstream.Config{
			ConnectTo:    map[string]string{net.JoinHostPort(chatgptHost, "443"): c.Upstream},
			RootCAs:      func() *x509.CertPool { return roots },
			AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		},
	})
	defer func() { _ = p.Shutdown(context.Background()) }()

	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/memstats", serveMemStats)
	profiler := &http.Server{Addr: c.PProf, Handler: mux, ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- profiler.ListenAndServe() }()

	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	go func() { failed <- p.Serve(l) }()
	return <-failed
}

func serveMemStats(w http.ResponseWriter, _ *http.Request) {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	_ = json.NewEncoder(w).Encode(stats)
}
