package agent_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/identity/backend"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/identity/store"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

var (
	soak  = flag.Duration("identity.soak", 0, "soak at least that long")
	kills = flag.Int("identity.kills", 200, "kill that many processes")
)

// workerEnv tells a test binary to be a process of agentproxy's.
const workerEnv = "IDENTITY_TEST_WORKER"

// worker is what such a process is told.
type worker struct {
	Kind, Home, State, Addr, CA string
	// Plain has it run without privileges.
	Plain bool
	// Courtesy is that of its agents.
	Courtesy time.Duration
}

func TestMain(m *testing.M) {
	if raw := os.Getenv(workerEnv); raw != "" {
		var w worker
		if err := json.Unmarshal([]byte(raw), &w); err != nil {
			panic(err)
		}
		os.Exit(w.run())
	}
	os.Exit(m.Run())
}

// start starts a process that ends when the pipe that it returns is closed.
func (w worker) start(t testing.TB) (*exec.Cmd, io.Closer, *bufio.Reader) {
	t.Helper()
	raw, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerEnv+"="+string(raw), "GOMAXPROCS=2", "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, stdin, bufio.NewReader(stdout)
}

func (w worker) run() int {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(w.CA))
	dialer := new(net.Dialer)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, w.Addr)
		},
		TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true,
	}
	if w.Plain {
		if err := dropPrivileges(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	clock := backend.NewClock(nil, nil)
	backend := backend.New(backend.Config{
		BaseURL: baseURL, Transport: transport, Clock: clock, ABOM: backend.NewABOM("1.0", runtime.GOOS),
	})
	config := agent.Config{
		Home: codex.OpenHome(w.Home), StateDir: w.State, Store: store.NewFile(filepath.Join(w.State, "identity.json")),
		Backend: backend, Register: true, Clock: clock, Courtesy: w.Courtesy, Patience: 10 * time.Second,
	}
	switch w.Kind {
	case "soak":
		return w.soak(ctx, config)
	case "kill":
		return w.churn(ctx, config)
	case "token":
		a := agent.New(config)
		defer a.Close()
		token, err := a.AccessToken(ctx)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(token.Value.Reveal())
		return 0
	}
	return 2
}

// soak keeps four goroutines busy with the token, as a proxy would be.
func (w worker) soak(ctx context.Context, config agent.Config) int {
	a := agent.New(config)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				token, err := a.AccessToken(ctx)
				if err == nil {
					_, err = config.Backend.Biscuit(ctx, token.Value, baseURL+"/v1/agent/register")
					var answer *backend.AnswerError
					if errors.As(err, &answer) && answer.Status == http.StatusUnauthorized {
						if token, err = a.RenewToken(ctx, token.Value); err == nil {
							_, err = config.Backend.Biscuit(ctx, token.Value, baseURL+"/v1/agent/register")
						}
					}
				}
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				fmt.Println(cmp.Or(errText(err), usedLine))
				mu.Unlock()
				sleep(ctx, time.Duration(rand.N(10))*time.Millisecond)
			}
		})
	}
	wg.Wait()
	a.Close()
	return 0
}

// usedLine is what soak prints when it has used a token. Else it prints the error.
const usedLine = "used"

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What churn prints when it has had something written.
const (
	agentLine = "agent"
	tokenLine = "token"
	taskLine  = "task"
)

// churn has everything written all the time: identities, tasks and tokens.
func (w worker) churn(ctx context.Context, config agent.Config) int {
	var mu sync.Mutex
	tell := func(line string, err error) {
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			fmt.Println(line)
		}
	}
	for i := 0; ctx.Err() == nil; i++ {
		a := agent.New(config)
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := a.Register(ctx)
			tell(agentLine, err)
		})
		wg.Go(func() {
			token, err := a.AccessToken(ctx)
			if err == nil {
				_, err = a.RenewToken(ctx, token.Value)
			}
			tell(tokenLine, err)
		})
		wg.Go(func() {
			_, err := a.Session(ctx, fmt.Sprint("label-", i))
			tell(taskLine, err)
		})
		wg.Wait()
		a.Close()
	}
	return 0
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// TestSoak has two processes share a log-in whose tokens expire after a second
// or are forgotten, while something else rewrites auth.json as Codex does: it
// reads, truncates, and writes in two pieces, without any lock. Now and then it
// writes what it had read long before. It goes on until all of that has happened
// often enough.
func TestSoak(t *testing.T) {
	r := newRunningRig(t)
	r.server.SetTokenLifetime(time.Second)
	l := r.server.Login(chatgpttest.Account{})
	r.write(fmt.Appendf(nil, unknownFields, l.IDToken, l.AccessToken, l.RefreshToken, time.Now().UTC().Format(time.RFC3339)))
	w := worker{Kind: "soak", Home: r.home, State: r.state, Addr: r.server.Addr(), CA: string(r.server.CertPEM())}
	type process struct {
		cmd   *exec.Cmd
		stdin io.Closer
		read  sync.WaitGroup
		used  atomic.Int64
		// How many fail depends on the machine: a token of one second may have
		// expired when it is used, and then is not renewed at once.
		failed atomic.Int64
		last   string
	}
	processes := make([]*process, 2)
	for i := range processes {
		p := new(process)
		var out *bufio.Reader
		p.cmd, p.stdin, out = w.start(t)
		p.read.Go(func() {
			for {
				line, err := out.ReadString('\n')
				switch {
				case err != nil:
					return
				case line == usedLine+"\n":
					p.used.Add(1)
				default:
					p.failed.Add(1)
					p.last = line
				}
			}
		})
		processes[i] = p
	}

	begin := time.Now()
	rewrites, stale, forgotten := 0, 0, 0
	enough := func() bool {
		for _, p := range processes {
			if p.used.Load() < 200 {
				return false
			}
		}
		return stale >= 25 && forgotten >= 3 && time.Since(begin) >= *soak
	}
	counter, old := 0, []byte(nil)
	for !enough() {
		if time.Since(begin) > *soak+5*time.Minute {
			t.Errorf("after %s: %d rewrites, %d of them stale, forgotten %d times", time.Since(begin), rewrites, stale, forgotten)
			break
		}
		if n := r.server.Stats().Refreshes / 2; n > forgotten {
			forgotten = n
			r.server.ForgetAccessTokens()
		}
		raw, ok := r.readWhole()
		if !ok {
			break
		}
		if got := r.counter(raw); got != counter && counter > 0 && got != -1 {
			t.Fatalf("a write was lost: the counter is %d, was %d", got, counter)
		}
		if !r.keepsUnknown(raw) {
			t.Fatalf("a field was lost:\n%s", raw)
		}
		counter++
		base := raw
		switch {
		case rewrites%7 == 6 && old != nil:
			base, old = old, nil
			stale++
		case old == nil:
			old = raw
		}
		r.rewrite(t, r.withCounter(base, counter))
		rewrites++
		sleep(t.Context(), time.Duration(rand.N(15))*time.Millisecond)
	}
	for _, p := range processes {
		p.stdin.Close()
		p.read.Wait()
		t.Logf("process: used %d, failed %d; %s", p.used.Load(), p.failed.Load(), strings.TrimSpace(p.last))
		if err := p.cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	stats := r.server.Stats()
	t.Logf("%d rewrites, %d of them stale; %d refreshes, %d reused tokens, %d biscuits", rewrites, stale, stats.Refreshes, stats.ReusedRefreshTokens, stats.Biscuits)
	if stats.ReusedRefreshTokens != 0 {
		t.Errorf("%d reused tokens", stats.ReusedRefreshTokens)
	}
	raw, err := os.ReadFile(r.path())
	if err != nil || !r.keepsUnknown(raw) || r.counter(raw) != counter {
		t.Errorf("at the end (%v), counter %d:\n%s", err, counter, raw)
	}
	// The log-in is still good.
	r.server.SetTokenLifetime(time.Hour)
	r.token(r.agent())
}

// readWhole reads auth.json as Codex does, which takes a half-written one for a
// whole one if it can. Here only the one who asks writes it so.
func (r *rig) readWhole() ([]byte, bool) {
	raw, err := os.ReadFile(r.path())
	if err != nil {
		r.t.Errorf("read: %v", err)
		return nil, false
	}
	if _, err := codex.ParseAuth(raw); err != nil {
		r.t.Errorf("auth.json: %v: %q", err, raw)
		return nil, false
	}
	return raw, true
}

// rewrite writes auth.json as Codex does, if slower.
func (r *rig) rewrite(t *testing.T, raw []byte) {
	f, err := os.OpenFile(r.path(), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if rand.N(2) == 0 {
		runtime.Gosched()
	}
	half := rand.N(len(raw))
	for _, piece := range [][]byte{raw[:half], raw[half:]} {
		if _, err := f.Write(piece); err != nil {
			t.Fatal(err)
		}
		sleep(t.Context(), time.Duration(rand.N(1000))*time.Microsecond)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) withCounter(raw []byte, n int) []byte {
	if i := bytes.LastIndex(raw, []byte(`,"counter":`)); i >= 0 {
		raw = append(bytes.Clone(raw[:i]), '}')
	} else if i := bytes.LastIndex(raw, []byte(`"counter":`)); i >= 0 {
		raw = append(bytes.TrimRight(bytes.Clone(raw[:i]), ", \n"), '}')
	}
	end := bytes.LastIndexByte(raw, '}')
	return fmt.Appendf(bytes.Clone(raw[:end]), `,"counter":%d}`, n)
}

func (r *rig) counter(raw []byte) int {
	var file struct{ Counter *int }
	if json.Unmarshal(raw, &file) != nil || file.Counter == nil {
		return -1
	}
	return *file.Counter
}

func (r *rig) keepsUnknown(raw []byte) bool {
	plain := strings.Join(strings.Fields(string(raw)), "")
	for _, field := range []string{
		`"$schema":"x"`, `"zeta":{"big":123456789012345678901234567890,"f":1.10,"list":[1,[],{},"\u2028<&>é"]}`,
		`"scope":["a","b"]`, `"n":9007199254740993`, `"alpha":"lastbutone"`, `"\u0061fter":true`, `"account_id":"account-123"`,
	} {
		if !strings.Contains(plain, field) {
			return false
		}
	}
	return true
}

// TestKill kills a process many times while it writes all it can: soon after it
// has had an agent registered, a token refreshed or a task registered.
func TestKill(t *testing.T) {
	r := newRunningRig(t)
	r.server.SetTokenLifetime(time.Hour)
	login := func() {
		l := r.server.Login(chatgpttest.Account{})
		r.write(fmt.Appendf(nil, unknownFields, l.IDToken, l.AccessToken, l.RefreshToken, time.Now().UTC().Format(time.RFC3339)))
	}
	login()
	w := worker{Kind: "kill", Home: r.home, State: r.state, Addr: r.server.Addr(), CA: string(r.server.CertPEM())}
	files := map[string]func([]byte) error{
		r.path():                               func(raw []byte) error { _, err := codex.ParseAuth(raw); return err },
		r.identity():                           func(raw []byte) error { _, err := identity.ParseRecord(raw); return err },
		filepath.Join(r.state, "tasks.json"):   validJSON,
		filepath.Join(r.state, "refresh.json"): validJSON,
	}
	checked := map[string]int{}
	type process struct {
		cmd   *exec.Cmd
		stdin io.Closer
		out   *bufio.Reader
	}
	begin := func() process {
		cmd, stdin, out := w.start(t)
		return process{cmd, stdin, out}
	}
	kill := func(p process) {
		if err := p.cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = p.cmd.Wait()
		p.stdin.Close()
	}
	lines := []string{agentLine, tokenLine, taskLine}
	// The next is under way already when one is killed.
	next := begin()
	for i := range *kills {
		p := next
		next = begin()
		for want := lines[i%len(lines)] + "\n"; ; {
			line, err := p.out.ReadString('\n')
			if err != nil {
				t.Fatalf("kill %d: %v", i, err)
			}
			if line == want {
				break
			}
		}
		sleep(t.Context(), time.Duration(rand.N(10_000))*time.Microsecond)
		kill(p)
		for file, check := range files {
			raw, err := os.ReadFile(file)
			if errors.Is(err, os.ErrNotExist) && file != r.path() {
				continue
			}
			if err == nil {
				err = check(raw)
			}
			if err != nil {
				t.Fatalf("kill %d: %s: %v: %q", i, file, err, raw)
			}
			checked[filepath.Base(file)]++
		}
		raw, _ := os.ReadFile(r.path())
		if !r.keepsUnknown(raw) {
			t.Fatalf("kill %d: a field was lost:\n%s", i, raw)
		}
		// A refresh that was under way took the log-in with it: that is so with
		// tokens that are good once.
		login()
	}
	kill(next)
	stats := r.server.Stats()
	t.Logf("checked %v; %d refreshes, %d agents, %d tasks", checked, stats.Refreshes, stats.AgentRegistrations, stats.TaskRegistrations)
	for file, n := range checked {
		if n < *kills/2 {
			t.Errorf("%s was there %d times", file, n)
		}
	}
	login()
	if s := r.session(r.agent(), ""); r.accepts(s) != 200 {
		t.Error("nothing can be signed any more")
	}
}

func validJSON(raw []byte) error {
	if !json.Valid(raw) {
		return errors.New("not JSON")
	}
	return nil
}
