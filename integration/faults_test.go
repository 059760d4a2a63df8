//go:build linux

package integration

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

var faultsFor = flag.Duration("integration.faults", 15*time.Second, "how long TestFaults goes on")

// relay stands between the proxy and the backend and fails in the ways that
// networks and servers do.
type relay struct {
	backend *chatgpttest.Server
	l       net.Listener
	group   sync.WaitGroup

	mu      sync.Mutex
	down    bool
	stalled chan struct{} // closed when nothing stalls
	conns   map[net.Conn]struct{}
}

func newRelay(t *testing.T, backend *chatgpttest.Server) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{backend: backend, l: l, stalled: make(chan struct{}), conns: make(map[net.Conn]struct{})}
	close(r.stalled)
	r.group.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			r.group.Go(func() { r.serve(client) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.reset()
		r.group.Wait()
	})
	return r
}

func (r *relay) Addr() string    { return r.l.Addr().String() }
func (r *relay) CertPEM() []byte { return r.backend.CertPEM() }

func (r *relay) serve(client net.Conn) {
	defer client.Close()
	r.mu.Lock()
	down := r.down
	r.mu.Unlock()
	if down {
		_ = client.(*net.TCPConn).SetLinger(0) // a reset, as from a port nobody listens on
		return
	}
	server, err := net.Dial("tcp", r.backend.Addr())
	if err != nil {
		return
	}
	defer server.Close()
	r.mu.Lock()
	r.conns[client], r.conns[server] = struct{}{}, struct{}{}
	r.mu.Unlock()
	var group sync.WaitGroup
	group.Go(func() { r.copy(server, client) })
	group.Go(func() { r.copy(client, server) })
	group.Wait()
	r.mu.Lock()
	delete(r.conns, client)
	delete(r.conns, server)
	r.mu.Unlock()
}

func (r *relay) copy(dst, src net.Conn) {
	defer dst.Close()
	defer src.Close()
	buf := make([]byte, 16<<10)
	for {
		n, err := src.Read(buf)
		r.mu.Lock()
		stalled := r.stalled
		r.mu.Unlock()
		<-stalled
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// reset cuts every connection in the middle.
func (r *relay) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

func (r *relay) setDown(down bool) {
	r.mu.Lock()
	r.down = down
	r.mu.Unlock()
	if down {
		r.reset()
	}
}

// stall holds all bytes back until the function that it returns is called.
func (r *relay) stall() (release func()) {
	stalled := make(chan struct{})
	r.mu.Lock()
	r.stalled = stalled
	r.mu.Unlock()
	return func() { close(stalled) }
}

// TestFaults keeps 300 streams going while everything fails in turn: the
// backend, the network, the disk, the clock, clients. Each client sees either its
// whole answer or an error, no request leaves unsigned or with another label's
// task, and afterwards the proxy holds no more than at the start.
func TestFaults(t *testing.T) {
	f := newLoginFixture(t, fixtureConfig{})
	r := newRelay(t, f.backend)
	config := strings.ReplaceAll(readFile(t, f.config), f.backend.Addr(), r.Addr())
	config = strings.Replace(config, "level: debug", "level: error", 1)
	writeFile(t, f.config, []byte(config+"limits: {connections_per_label: 4000}\n"))
	fill := f.smallState(t)
	p := f.serve(t)
	warmUp := p.client(t, "warm-up")
	mustAsk(t, warmUp, http.StatusOK)
	warmUp.CloseIdleConnections()
	before := p.holds(t)

	ctx, stop := context.WithTimeout(t.Context(), *faultsFor)
	defer stop()
	var whole, failed atomic.Int64
	var group sync.WaitGroup
	reasons := newTally()
	for i := range 300 {
		client := p.client(t, fmt.Sprintf("label-%d", i%20))
		group.Go(func() {
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				err := stream(ctx, client, fmt.Sprintf("label-%d", i%20), i%10 == 0)
				switch {
				case err == nil:
					whole.Add(1)
				case errors.Is(err, errShort):
					t.Error(err)
					return
				default:
					failed.Add(1)
					reasons.add(err)
					select { // as a client that is told to come back later
					case <-time.After(100 * time.Millisecond):
					case <-ctx.Done():
					}
				}
			}
		})
	}
	group.Go(func() { p.misfortunes(t, ctx, r, fill) })
	group.Wait()
	t.Logf("%d streams were whole, %d ended with an error", whole.Load(), failed.Load())
	reasons.log(t)
	if whole.Load() == 0 || failed.Load() == 0 {
		t.Error("want some of both")
	}

	eventually(t, "a request to succeed", func() bool {
		status, err := ask(p.client(t, "after"), []byte("hello"))
		return err == nil && status == http.StatusOK
	})
	f.checkLabels(t)
	p.checkHolds(t, before)
}

// tally counts errors by their beginning.
type tally struct {
	mu    sync.Mutex
	count map[string]int
}

func newTally() *tally { return &tally{count: make(map[string]int)} }

func (c *tally) add(err error) {
	const most = 90
	text := err.Error()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[text[:min(most, len(text))]]++
}

// log names the most frequent errors.
func (c *tally) log(t *testing.T) {
	t.Helper()
	names := slices.SortedFunc(maps.Keys(c.count), func(a, b string) int { return c.count[b] - c.count[a] })
	for _, name := range names[:min(8, len(names))] {
		t.Logf("%7d %s", c.count[name], strings.ReplaceAll(name, "\n", " "))
	}
}

// errShort says that an answer ended as if it were whole.
var errShort = errors.New("an answer ended early without an error")

const streamEvents = 20

// stream reads a stream of events to its end, or leaves in the middle.
func stream(ctx context.Context, client *http.Client, label string, leave bool) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	return readStream(ctx, client, label, streamEvents, func(events int) error {
		if leave && events == streamEvents/2 {
			return errors.New("the client has left")
		}
		return nil
	})
}

// streamThrough reads a stream of events to its end, and calls begun when it has
// begun or failed.
func streamThrough(ctx context.Context, client *http.Client, n int, begun func()) error {
	var once sync.Once
	defer func() { once.Do(begun) }()
	return readStream(ctx, client, "", n, func(int) error {
		once.Do(begun)
		return nil
	})
}

// readStream reads a stream of n events, and calls each with their number so far.
func readStream(ctx context.Context, client *http.Client, label string, n int, each func(events int) error) error {
	url := fmt.Sprintf("https://chatgpt.com/backend-api/test/sse?n=%d&interval_ms=50&label=%s", n, label)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(response.Body, 4<<10))
		return errors.Join(err, fmt.Errorf("status %s: %s", response.Status, body))
	}
	events := 0
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "data:") {
			continue
		}
		events++
		if err := each(events); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if events < n {
		return fmt.Errorf("%w: %d of %d events", errShort, events, n)
	}
	return nil
}

// misfortunes befall the proxy one after the other until ctx ends.
func (p *proxy) misfortunes(t *testing.T, ctx context.Context, r *relay, fill func() (empty func())) {
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	faults := []func(){
		func() { r.setDown(true); wait(time.Second); r.setDown(false) },
		func() { release := r.stall(); wait(2 * time.Second); release() },
		r.reset,
		func() { r.backend.ForgetTasks() },
		func() { r.backend.ForgetAccessTokens() },
		func() { r.backend.SetClockOffset(-50 * time.Minute); wait(time.Second); r.backend.SetClockOffset(0) },
		func() { empty := fill(); r.backend.ForgetTasks(); wait(time.Second); empty() },
		func() {
			clear := r.backend.Inject(chatgpttest.Fault{Path: "/backend-api/test/*", Status: http.StatusInternalServerError})
			wait(500 * time.Millisecond)
			clear()
		},
		func() { // a name that leads nowhere
			conn, answer := p.connect(t, "nowhere.invalid:443", "nowhere.invalid:443")
			conn.Close()
			if answer.status == http.StatusOK {
				t.Error("a tunnel to nowhere was opened")
			}
		},
	}
	for ctx.Err() == nil {
		if err := p.process.Signal(syscall.SIGHUP); err != nil {
			t.Error(err)
			return
		}
		faults[rand.N(len(faults))]()
		wait(time.Second)
	}
}

// smallState puts the state directory on a file system of its own, and returns
// what fills that up. Only root can; for others the disk never fills up.
func (f *fixture) smallState(t *testing.T) (fill func() (empty func())) {
	t.Helper()
	if err := os.MkdirAll(f.stateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", f.stateDir, "tmpfs", 0, "size=256k,mode=0700"); err != nil {
		t.Logf("the disk will not fill up: %v", err)
		return func() func() { return func() {} }
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(f.stateDir, 0); err != nil {
			t.Errorf("unmount the state directory: %v", err)
		}
	})
	return func() func() {
		path := filepath.Join(f.stateDir, "filler")
		_ = os.WriteFile(path, make([]byte, 512<<10), 0o600)
		return func() { _ = os.Remove(path) }
	}
}

// checkLabels fails the test if a request came without a credential, or a task
// served two labels.
func (f *fixture) checkLabels(t *testing.T) {
	t.Helper()
	labels := make(map[string]string)
	for _, r := range f.backend.Requests() {
		if !strings.HasPrefix(r.Path, "/backend-api/test/") {
			continue
		}
		if r.Header.Get("Authorization") == "" {
			t.Errorf("%s %s came without a credential", r.Method, r.Path)
		}
		_, label, ok := strings.Cut(r.RawQuery, "label=")
		task := r.Auth.TaskID
		if !ok || task == "" {
			continue
		}
		if other, known := labels[task]; known && other != label {
			t.Errorf("task %s served %s and %s", task, other, label)
		}
		labels[task] = label
	}
	if len(labels) == 0 {
		t.Error("no request was signed for a label")
	}
}

// held is what the proxy's process holds of the system.
type held struct{ descriptors, kilobytes, threads int }

func (p *proxy) holds(t *testing.T) held {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(p.process.Pid))
	descriptors, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		t.Fatalf("count the proxy's descriptors, as root: %v", err)
	}
	h := held{descriptors: len(descriptors)}
	for line := range strings.Lines(readFile(t, filepath.Join(dir, "status"))) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		switch name {
		case "VmRSS":
			h.kilobytes = n
		case "Threads":
			h.threads = n
		}
	}
	return h
}

// checkHolds waits for the proxy to let go of what it held for its clients.
func (p *proxy) checkHolds(t *testing.T, before held) {
	t.Helper()
	var now held
	const kept = 40 // idle connections to the backend
	const memory = 150 << 10
	eventually(t, "the proxy to close what it held", func() bool {
		now = p.holds(t)
		return now.descriptors <= before.descriptors+kept && now.kilobytes <= before.kilobytes+memory
	})
	t.Logf("held before: %+v, after: %+v", before, now)
}
