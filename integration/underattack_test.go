//go:build linux

package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attacker does to a proxy what uses up its memory, its places or its time, until its
// context ends.
type attacker struct {
	context.Context
	addr, admin string
	roots       *x509.CertPool
	get         func(path string) []byte // the field block of a GET
}

// dial connects to an address until the attack ends.
func (a *attacker) dial(address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(a, "tcp", address)
	if err == nil {
		context.AfterFunc(a, func() { conn.Close() })
	}
	return conn, err
}

// tunnel opens an intercepted tunnel for a client of a label.
func (a *attacker) tunnel(label, protocol string) (net.Conn, error) {
	conn, err := a.dial(a.addr)
	if err != nil {
		return nil, err
	}
	if _, err := io.WriteString(conn, lines("CONNECT chatgpt.com:443 HTTP/1.1", "Host: chatgpt.com:443", "Proxy-Authorization: "+basic(label))); err != nil {
		return nil, err
	}
	established := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
	if _, err := io.ReadFull(conn, established); err != nil || !strings.Contains(string(established), " 200 ") {
		conn.Close()
		return nil, errors.New("no tunnel")
	}
	secured := tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: a.roots, ServerName: "chatgpt.com", NextProtos: []string{protocol}})
	if err := secured.HandshakeContext(a); err != nil {
		conn.Close()
		return nil, err
	}
	return secured, nil
}

// h2 is tunnel for HTTP/2. What the server sends is read if read is set.
func (a *attacker) h2(label string, read bool) (net.Conn, *http2.Framer, error) {
	conn, err := a.tunnel(label, "h2")
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		return nil, nil, err
	}
	framer := http2.NewFramer(conn, conn)
	framer.AllowIllegalWrites = true
	if read {
		go func() { _, _ = io.Copy(io.Discard, conn) }() // until the connection is closed
	}
	return conn, framer, framer.WriteSettings()
}

// pause waits, and reports whether the attack goes on.
func (a *attacker) pause(d time.Duration) bool {
	select {
	case <-a.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// together calls begin n times at once, keeps what it returns open for a while, and begins
// anew.
func (a *attacker) together(n int, hold time.Duration, begin func() (net.Conn, error)) {
	for a.Err() == nil {
		var conns sync.WaitGroup
		round, end := context.WithTimeout(a, hold)
		for range n {
			conns.Go(func() {
				conn, err := begin()
				if err != nil {
					return
				}
				<-round.Done()
				conn.Close()
			})
		}
		conns.Wait()
		end()
		if !a.pause(50 * time.Millisecond) {
			return
		}
	}
}

// assaults are those attacks, each by a label of its own or by no client at all.
var assaults = []struct {
	name string
	run  func(a *attacker)
}{
	{"answers over HTTP/2 that nobody reads", func(a *attacker) {
		a.together(3, 2*time.Second, func() (net.Conn, error) {
			conn, framer, err := a.h2("unread", false)
			if err != nil {
				return nil, err
			}
			for i := range 100 {
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: a.get("/backend-api/test/bytes?n=100000000"), EndStream: true, EndHeaders: true})
			}
			return conn, nil
		})
	}},
	{"uploads that do not end", func(a *attacker) {
		const size = 1 << 20
		body := strings.Repeat("x", size-1)
		a.together(250, 2*time.Second, func() (net.Conn, error) {
			conn, err := a.tunnel("uploads", "http/1.1")
			if err == nil {
				_, _ = fmt.Fprintf(conn, "POST /backend-api/test/upload HTTP/1.1\r\nHost: chatgpt.com\r\nContent-Length: %d\r\n\r\n%s", size, body)
			}
			return conn, err
		})
	}},
	{"headers of strangers that do not end", func(a *attacker) {
		header := "CONNECT chatgpt.com:443 HTTP/1.1\r\nX: " + strings.Repeat("x", 250<<10)
		a.together(900, 2*time.Second, func() (net.Conn, error) {
			conn, err := a.dial(a.addr)
			if err == nil {
				_, _ = io.WriteString(conn, header)
			}
			return conn, err
		})
	}},
	{"headers of many lines that do not end", func(a *attacker) {
		var header strings.Builder
		header.WriteString("CONNECT chatgpt.com:443 HTTP/1.1\r\n")
		for i := range 4000 {
			fmt.Fprintf(&header, "%x:\r\n", i)
		}
		a.together(900, 2*time.Second, func() (net.Conn, error) {
			conn, err := a.dial(a.addr)
			if err == nil {
				_, _ = io.WriteString(conn, header.String())
			}
			return conn, err
		})
	}},
	{"headers at the admin port that do not end", func(a *attacker) {
		header := "GET /metrics HTTP/1.1\r\nX: " + strings.Repeat("x", 250<<10)
		a.together(60, 2*time.Second, func() (net.Conn, error) {
			conn, err := a.dial(a.admin)
			if err == nil {
				_, _ = io.WriteString(conn, header)
			}
			return conn, err
		})
	}},
	{"headers in tunnels that do not end", func(a *attacker) {
		header := "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nX: " + strings.Repeat("x", 250<<10)
		a.together(200, 2*time.Second, func() (net.Conn, error) {
			conn, err := a.tunnel("heads", "http/1.1")
			if err == nil {
				_, _ = io.WriteString(conn, header)
			}
			return conn, err
		})
	}},
	{"requests that are broken off", func(a *attacker) {
		for a.Err() == nil {
			conn, framer, err := a.h2("hasty", true)
			for i := uint32(1); err == nil && a.pause(time.Millisecond); i += 2 {
				err = errors.Join(
					framer.WriteHeaders(http2.HeadersFrameParam{StreamID: i, BlockFragment: a.get("/backend-api/test/bytes?n=100000"), EndStream: true, EndHeaders: true}),
					framer.WriteRSTStream(i, http2.ErrCodeCancel))
			}
			if conn != nil {
				conn.Close()
			}
			a.pause(10 * time.Millisecond)
		}
	}},
	{"floods of frames", func(a *attacker) {
		var all sync.WaitGroup
		for _, flood := range floods {
			all.Go(func() {
				for a.Err() == nil {
					conn, framer, err := a.h2("floods", true)
					for i := uint32(0); err == nil && a.Err() == nil; i++ {
						err = flood(framer, a.get("/backend-api/test/echo"), i)
						if i%100 == 99 {
							a.pause(10 * time.Millisecond)
						}
					}
					if conn != nil {
						conn.Close()
					}
					a.pause(10 * time.Millisecond)
				}
			})
		}
		all.Wait()
	}},
	{"new labels", func(a *attacker) {
		for i := 0; a.pause(5 * time.Millisecond); i++ {
			conn, err := a.tunnel(fmt.Sprintf("made-up-%d", i), "http/1.1")
			if err != nil {
				continue
			}
			_, _ = io.WriteString(conn, "GET /backend-api/test/echo HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n")
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		}
	}},
	{"requests of strangers", func(a *attacker) {
		for a.pause(2 * time.Millisecond) {
			conn, err := a.dial(a.addr)
			if err != nil {
				continue
			}
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		}
	}},
	{"silent connections of another user", func(a *attacker) {
		host, port, _ := net.SplitHostPort(a.addr)
		cmd := exec.CommandContext(a, "python3", "-c", `
import resource, socket, sys, time
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
kept = []
for i in range(4000):
    try:
        kept.append(socket.create_connection((sys.argv[1], int(sys.argv[2]))))
    except OSError:
        pass
time.sleep(3600)
`, host, port)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		_ = cmd.Run() // which ends with the attack
	}},
}

// firstBytes are what well-behaved clients have seen.
type firstBytes struct {
	mu     sync.Mutex
	after  []time.Duration
	busy   int
	failed []string
}

func (f *firstBytes) note(after time.Duration, busy bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case err != nil:
		f.failed = append(f.failed, err.Error())
	case busy:
		f.busy++
	default:
		f.after = append(f.after, after)
	}
}

// none reports whether no request was answered yet.
func (f *firstBytes) none() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.after) == 0
}

// quantile returns the time within which the first byte of so many of the answers came.
func (f *firstBytes) quantile(q float64) time.Duration {
	if len(f.after) == 0 {
		return 0
	}
	slices.Sort(f.after)
	return f.after[min(int(q*float64(len(f.after))), len(f.after)-1)].Round(100 * time.Microsecond)
}

// errBusy is the error of a CONNECT that was answered with 503 busy and Retry-After.
var errBusy = errors.New("busy")

// isBusy reports whether a response says that the proxy is busy, and when to come back.
func isBusy(r *http.Response) bool {
	return r.StatusCode == http.StatusServiceUnavailable && strings.Contains(r.Header.Get("Proxy-Status"), `"busy"`) && r.Header.Get("Retry-After") != ""
}

// behave asks through client again and again until ctx ends.
func behave(ctx context.Context, client *http.Client, seen *firstBytes) {
	for ctx.Err() == nil {
		begun := time.Now()
		var first time.Duration
		traced := httptrace.WithClientTrace(context.WithoutCancel(ctx), &httptrace.ClientTrace{GotFirstResponseByte: func() { first = time.Since(begun) }})
		r, err := http.NewRequestWithContext(traced, http.MethodPost, "https://chatgpt.com/backend-api/test/upload", strings.NewReader("hello"))
		if err != nil {
			seen.note(0, false, err)
			return
		}
		res, err := client.Do(r)
		switch {
		case errors.Is(err, errBusy):
			seen.note(0, true, nil)
		case err != nil:
			seen.note(0, false, err)
		default:
			body, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err == nil && res.StatusCode != http.StatusOK && !isBusy(res) {
				err = fmt.Errorf("%s %s", res.Status, body)
			}
			seen.note(first, isBusy(res), err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(150 * time.Millisecond):
		}
	}
}

// TestUnderAttack is under each attack, and under all at once, with 50 well-behaved clients
// and the memory of the manifests.
func TestUnderAttack(t *testing.T) { underAttack(t, time.Second) }

// underAttack is under each attack for a time, and until a client was served. None of the well-behaved clients' requests
// fails, but for a 503 that says when to come back; the proxy lives, and afterwards its
// memory comes back within a minute.
func underAttack(t *testing.T, each time.Duration) {
	const most = 256 << 20
	bound := boundMemory(t, most)
	f := newFixture(t, fixtureConfig{})
	f.starter = bound.starter
	f.adminOn(t)
	p := f.edit(t, "level: debug", "level: error").serve(t)
	roots := p.roots(t)
	if !needRoot(t) {
		t.Log("not root: without the connections of another user")
	}
	get := func(path string) []byte {
		return headerBlock(t, []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "chatgpt.com"}, {Name: ":path", Value: path}})
	}
	blocks := map[string][]byte{}
	for _, path := range []string{"/backend-api/test/bytes?n=100000000", "/backend-api/test/bytes?n=100000", "/backend-api/test/echo"} {
		blocks[path] = get(path)
	}
	var clients []*http.Client
	for i := range 50 {
		c := p.client(t, fmt.Sprintf("good-%d", i))
		c.Transport.(*http.Transport).OnProxyConnectResponse = func(_ context.Context, _ *url.URL, _ *http.Request, res *http.Response) error {
			if isBusy(res) {
				return errBusy
			}
			return nil
		}
		clients = append(clients, c)
	}
	phase := func(name string, runs ...func(*attacker)) {
		t.Helper()
		ctx, end := context.WithCancel(t.Context())
		defer end()
		a := &attacker{ctx, p.addr, f.admin, roots, func(path string) []byte { return blocks[path] }}
		seen := new(firstBytes)
		var all sync.WaitGroup
		for _, run := range runs {
			all.Go(func() { run(a) })
		}
		for _, c := range clients {
			all.Go(func() { behave(ctx, c, seen) })
		}
		peak := int64(0)
		for begun := time.Now(); time.Since(begun) < each || seen.none() && time.Since(begun) < each+clientTimeout; {
			peak = max(peak, bound.used(t, p))
			time.Sleep(20 * time.Millisecond)
		}
		end()
		all.Wait()
		t.Logf("%-45s %6d answers, %4d busy, %4d failed; first byte 50%%: %8s, 99%%: %8s; %4d MiB at most",
			name, len(seen.after), seen.busy, len(seen.failed), seen.quantile(.5), seen.quantile(.99), peak>>20)
		if len(seen.failed) > 0 {
			t.Errorf("%s: %d requests failed, the first: %s", name, len(seen.failed), seen.failed[0])
		}
		if len(seen.after) == 0 {
			t.Errorf("%s: nobody was served", name)
		}
	}
	t.Logf("%s of %d MiB, each for %s", bound.how, most>>20, each)
	phase("nothing") // and every client has its task
	before := p.holds(t).kilobytes
	phase("nothing")
	var runs []func(*attacker)
	for _, assault := range assaults {
		if strings.HasSuffix(assault.name, "of another user") && !needRoot(t) {
			continue
		}
		runs = append(runs, assault.run)
		phase(assault.name, assault.run)
	}
	phase("all at once", runs...)
	end := time.Now()
	for {
		now := p.holds(t).kilobytes
		if now <= before+32<<10 {
			t.Logf("%d kB before, %d kB %s after the last", before, now, time.Since(end).Round(100*time.Millisecond))
			break
		}
		if time.Since(end) > time.Minute {
			t.Errorf("%d kB before, and %d kB a minute after the last", before, now)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	mustAsk(t, clients[0], http.StatusOK)
	phase("nothing any more")
}
