//go:build linux

package integration

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

var faultsFor = flag.Duration("integration.faults", 15*time.Second, "how long TestFaults goes on")

// TestFaults keeps 300 streams going while everything fails in turn: the
// backend, the network, its names, the disk, the clock, clients, and SIGHUP comes
// each second. Each client sees either its whole answer or an error, no request
// leaves unsigned or with another label's task, and afterwards the proxy holds no
// more than at the start.
func TestFaults(t *testing.T) {
	t.Parallel()
	f := newLoginFixture(t, fixtureConfig{yaml: "signer: {use: agent-assertion}"})
	r := newRelay(t, f.backend)
	f.edit(t, f.backend.Addr(), r.Addr(), "level: debug", "level: error", "other_hosts: refuse", "other_hosts: [nowhere.invalid]\nlimits: {connections_per_label: 4000}")
	lose := f.brokenNames(t, r.Addr())
	fill := f.smallState(t)
	f.adminOn(t)
	seen := observe(f.backend)
	p := f.serve(t)
	warmUp := p.client(t, "warm-up")
	mustAsk(t, warmUp, http.StatusOK)
	warmUp.CloseIdleConnections()
	before := p.holds(t)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var whole, failed atomic.Int64
	time.AfterFunc(*faultsFor, func() {
		// Where the machine is very busy it takes longer to see both.
		for range 120 {
			if whole.Load() > 0 && failed.Load() > 0 {
				break
			}
			time.Sleep(time.Second)
		}
		stop()
	})
	var group sync.WaitGroup
	var clients []*http.Client
	reasons := newTally()
	for i := range 300 {
		label := fmt.Sprintf("label-%d", i%20)
		client := p.client(t, label)
		clients = append(clients, client)
		group.Go(func() {
			for ctx.Err() == nil {
				err := stream(ctx, client, label, i%10 == 0)
				switch {
				case err == nil:
					whole.Add(1)
				case errors.Is(err, errShort):
					t.Error(err)
					return
				case ctx.Err() != nil: // it is the test that ends
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
	group.Go(func() { p.hangUp(t, ctx) })
	group.Go(func() {
		// A task that is forgotten before it has served is not renewed for long.
		for whole.Load() == 0 && ctx.Err() == nil {
			time.Sleep(10 * time.Millisecond)
		}
		p.misfortunes(t, ctx, r, fill, lose)
	})
	group.Wait()
	t.Logf("%d streams were whole, %d ended with an error", whole.Load(), failed.Load())
	reasons.log(t)
	if whole.Load() == 0 || failed.Load() == 0 {
		t.Error("want some of both")
	}

	eventually(t, "a request to succeed", func() bool {
		client := p.client(t, "after")
		defer client.CloseIdleConnections()
		status, err := ask(client, []byte("hello"))
		return err == nil && status == http.StatusOK
	})
	seen.check(t)
	for _, client := range clients { // a connection may have come when nobody waited for it any more
		client.CloseIdleConnections()
	}
	// Connections to the backend are kept for a minute and a half, and so are
	// pipes, until garbage is collected.
	p.returnsTo(t, before, held{descriptors: 30, goroutines: 100, kilobytes: 100 << 10}, time.Minute)
	if *faultsFor >= time.Minute {
		// An idle Go program collects garbage every two minutes, and what was
		// pooled goes at the second time.
		p.returnsTo(t, before, held{descriptors: 2, goroutines: 5, kilobytes: 16 << 10}, 8*time.Minute)
	}
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
	return readStream(ctx, client, label, streamEvents, 50*time.Millisecond, func(events int) error {
		if leave && events == streamEvents/2 {
			return errors.New("the client has left")
		}
		return nil
	})
}

// streamThrough reads a stream of events to its end, and calls begun when it has
// begun or failed.
func streamThrough(ctx context.Context, client *http.Client, n int, interval time.Duration, begun func()) error {
	var once sync.Once
	defer func() { once.Do(begun) }()
	return readStream(ctx, client, "", n, interval, func(int) error {
		once.Do(begun)
		return nil
	})
}

// readStream reads a stream of n events, and calls each with their number so far.
func readStream(ctx context.Context, client *http.Client, label string, n int, interval time.Duration, each func(events int) error) error {
	query := url.Values{"n": {fmt.Sprint(n)}, "interval_ms": {fmt.Sprint(interval.Milliseconds())}, "label": {label}}
	return readEvents(ctx, client, query, n, each)
}

// readEvents reads the stream of n events that query asks for.
func readEvents(ctx context.Context, client *http.Client, query url.Values, n int, each func(events int) error) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://chatgpt.com/backend-api/test/sse?"+query.Encode(), nil)
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

// hangUp sends SIGHUP each second until ctx ends.
func (p *proxy) hangUp(t *testing.T, ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := p.process.Signal(syscall.SIGHUP); err != nil {
				t.Error(err)
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// misfortunes befall the proxy one after the other until ctx ends.
func (p *proxy) misfortunes(t *testing.T, ctx context.Context, r *relay, fill func() (empty func()), lose func(mode int32)) {
	wait := func(d time.Duration) {
		select {
		case <-time.After(d):
		case <-ctx.Done():
		}
	}
	// Connections that are kept need no name.
	loseNames := func(mode int32) { lose(mode); r.reset(); wait(time.Second); lose(namesKnown) }
	often := []func(){
		func() { r.setDown(true); wait(time.Second); r.setDown(false) },
		func() { release := r.stall(); wait(2 * time.Second); release() },
		r.reset,
		func() { loseNames(namesGone) },
		func() { loseNames(namesFailed) },
		func() { loseNames(namesSilent) },
		func() { r.backend.SetClockOffset(-9 * time.Minute); wait(time.Second); r.backend.SetClockOffset(0) },
		func() { r.backend.SetClockOffset(9 * time.Minute); wait(time.Second); r.backend.SetClockOffset(0) },
		func() {
			clear := r.backend.Inject(chatgpttest.Fault{Path: "/backend-api/test/*", Status: http.StatusInternalServerError})
			wait(500 * time.Millisecond)
			clear()
		},
		func() { // a name that leads nowhere, and may be asked for
			conn, answer := p.connect(t, "nowhere.invalid:443", "nowhere.invalid:443")
			conn.Close()
			if answer.status != http.StatusBadGateway {
				t.Errorf("a tunnel to nowhere: status %d, want 502", answer.status)
			}
		},
	}
	// Each has the proxy wait longer before it renews what was refused, so that
	// often there would be little but refusals.
	rarely := []func(){
		r.backend.ForgetTasks,
		r.backend.ForgetAccessTokens,
		func() { empty := fill(); r.backend.ForgetTasks(); wait(time.Second); empty() },
	}
	for i := 0; ctx.Err() == nil; i++ {
		if i%12 == 2 {
			rarely[rand.N(len(rarely))]()
		} else {
			often[rand.N(len(often))]()
		}
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
	t.Cleanup(func() { unmount(t, f.stateDir) })
	return func() func() {
		path := filepath.Join(f.stateDir, "filler")
		_ = os.WriteFile(path, make([]byte, 512<<10), 0o600)
		return func() { _ = os.Remove(path) }
	}
}

// observed is what was wrong with the requests that a backend got.
type observed struct {
	mu     sync.Mutex
	labels map[string]string // by task
	wrong  []string
}

// observe looks at every request for the test's paths, of which a backend
// remembers the last ones only.
func observe(backend *chatgpttest.Server) *observed {
	o := &observed{labels: make(map[string]string)}
	backend.Inject(chatgpttest.Fault{Match: func(r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/backend-api/test/") {
			o.add(r)
		}
		return false
	}})
	return o
}

func (o *observed) add(r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	scheme, value, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	label := r.URL.Query().Get("label")
	switch {
	case value == "":
		o.wrong = append(o.wrong, r.URL.Path+" came without a credential")
	case scheme == chatgpttest.SchemeAgentAssertion && label != "":
		task := taskOf(value)
		if other, known := o.labels[task]; task == "" || known && other != label {
			o.wrong = append(o.wrong, fmt.Sprintf("task %q served %s and %s", task, other, label))
		}
		o.labels[task] = label
	}
}

// taskOf returns the task that an assertion names, unverified.
func taskOf(assertion string) string {
	raw, err := base64.RawURLEncoding.DecodeString(assertion)
	if err != nil {
		return ""
	}
	var envelope struct {
		TaskID string `json:"task_id"`
	}
	_ = json.Unmarshal(raw, &envelope) // a task that is none is wrong
	return envelope.TaskID
}

// check fails the test if a request came without a credential, or a task served
// two labels.
func (o *observed) check(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, wrong := range o.wrong[:min(len(o.wrong), 10)] {
		t.Error(wrong)
	}
	if len(o.labels) == 0 {
		t.Error("no request was signed for a label")
	}
	t.Logf("%d tasks served labels", len(o.labels))
}
