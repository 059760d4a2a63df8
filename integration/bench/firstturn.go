//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// codexProgram is the Codex CLI that make clients fetches.
const codexProgram = "integration/clients/node_modules/codex-0.171/vendor/x86_64-unknown-linux-musl/bin/codex"

// errNoCodex says that it was not fetched.
var errNoCodex = errors.New("codex is not installed; make clients fetches it")

// firstTurn prepares codex exec, alone and by way of agentproxy run. Codex alone goes through a
// relay, because it must reach the stand-in for ChatGPT by name.
func firstTurn(_ context.Context, b *bench, i *instance) (*session, error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	codex := filepath.Join(root, codexProgram)
	if _, err := os.Stat(codex); err != nil {
		return nil, errNoCodex
	}
	backend, err := chatgpttest.NewServerWith(chatgpttest.Config{})
	if err != nil {
		return nil, err
	}
	f := &turnUser{backend: backend, dir: filepath.Join(b.dir, i.program+"-first-turn")}
	if err := f.prepare(b, i, codex); err != nil {
		f.close()
		return nil, err
	}
	return &session{
		round: func(ctx context.Context) (metrics, error) {
			m := metrics{}
			var took []time.Duration
			for n := range 1 + b.plan.firstTurns {
				began := time.Now()
				if err := f.run(ctx); err != nil {
					return nil, err
				}
				if n == 0 && !f.begun {
					m[keyCold] = milliseconds(time.Since(began))
				} else {
					took = append(took, time.Since(began))
				}
				f.begun = true
			}
			slices.Sort(took)
			m[keyWall] = milliseconds(quantile(took, 0.5))
			return m, nil
		},
		close: f.close,
	}, nil
}

// turnUser is somebody who starts Codex.
type turnUser struct {
	backend *chatgpttest.Server
	dir     string
	argv    []string
	environ []string
	relay   *relay
	begun   bool // the first turn was made
}

func (f *turnUser) prepare(b *bench, i *instance, codex string) error {
	home, work, ca := filepath.Join(f.dir, "codex"), filepath.Join(f.dir, "work"), filepath.Join(f.dir, "ca.pem")
	err := errors.Join(os.MkdirAll(home, 0o700), os.MkdirAll(work, 0o700))
	if err = errors.Join(err, os.WriteFile(ca, f.backend.CertPEM(), 0o600)); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(home, "auth.json"), f.backend.Login(chatgpttest.Account{}).AuthJSON(), 0o600); err != nil {
		return err
	}
	f.argv = []string{codex, "exec", "--skip-git-repo-check", "--disable", "apps", "--disable", "plugins", "-c", "analytics.enabled=false", "say hi"}
	f.environ = append(cleanEnviron(f.dir), "TERM=dumb")
	if i.program == direct {
		if f.relay, err = startRelay(f.backend.Addr()); err != nil {
			return err
		}
		f.environ = append(f.environ, "CODEX_HOME="+home, "CODEX_CA_CERTIFICATE="+ca, "HTTPS_PROXY=http://"+f.relay.Addr().String())
		return nil
	}
	config := filepath.Join(f.dir, "agentproxy.yaml")
	binary := b.binary
	if i.program == before {
		binary = b.before
	}
	f.argv = append([]string{binary, "run", "--config", config, "--"}, f.argv...)
	return os.WriteFile(config, fmt.Appendf(nil, `admin: ""
state_dir: %q
identity: {codex_home: %q}
upstream:
  connect_to: {"chatgpt.com:443": %[3]q, "*.chatgpt.com:443": %[3]q, "auth.openai.com:443": %[3]q}
  ca_file: %[4]q
other_hosts: refuse
log: {level: error}
`, filepath.Join(f.dir, "state"), home, f.backend.Addr(), ca), 0o600)
}

func (f *turnUser) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*grace)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.argv[0], f.argv[1:]...)
	cmd.Dir, cmd.Env = filepath.Join(f.dir, "work"), f.environ
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("codex exec: %w: %s", err, lastLine(out))
	}
	return nil
}

func (f *turnUser) close() {
	if f.relay != nil {
		f.relay.close()
	}
	f.backend.Close()
}

// relay is a proxy that leads every CONNECT to one address, and refuses GitHub's.
type relay struct {
	net.Listener
	server  http.Server
	running sync.WaitGroup
}

func startRelay(to string) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{Listener: l}
	r.server.ReadHeaderTimeout = time.Minute
	r.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		host, _, _ := net.SplitHostPort(q.Host)
		if q.Method != http.MethodConnect || host != chatgptHost && host != "auth.openai.com" {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		server, err := net.Dial("tcp", to)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			server.Close()
			return
		}
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
		for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
			r.running.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				client.Close()
				server.Close()
			})
		}
	})
	r.running.Go(func() { _ = r.server.Serve(l) })
	return r, nil
}

func (r *relay) close() {
	_ = r.server.Close()
	r.running.Wait()
}
