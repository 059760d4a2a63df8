//go:build linux

package integration

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sys/unix"
)

// attack says what a process of attackers does. Its JSON is the process's environment
// variable [attackVariable].
type attack struct {
	Name        string // of one of assaults
	Addr, Admin string
	CA          string // the path of the proxy's
	Idle        bool   // the process gets what time of the processors the others leave
}

// attackVariable makes a process of this program one of attackers.
const attackVariable = "AGENTPROXY_TEST_ATTACK"

// strength is how much attackers have done.
type strength struct {
	Connections, Units, Bytes int64         // Units are what the assault counts
	CPU                       time.Duration // that they have used
}

// attacker does to a proxy what uses up its memory, its places or its time, until its
// context ends.
type attacker struct {
	context.Context
	addr, admin               string
	roots                     *x509.CertPool
	connections, units, bytes atomic.Int64
}

// startAttack starts a process of attackers. It is one of its own: in the world attackers
// have a machine of their own, and take no turns with the clients of another. It tells begun,
// which must have room, when they have done something, or have ended. The function that it
// returns ends them, and says what they have done.
func startAttack(t *testing.T, a attack, begun chan<- struct{}) (end func() strength) {
	t.Helper()
	cmd, stdin := startRole(t, attackVariable, a)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	report := make(chan []byte, 1)
	go func() {
		r := bufio.NewReader(stdout)
		_, _ = r.ReadString('\n')
		begun <- struct{}{}
		raw, _ := io.ReadAll(r)
		report <- raw
	}()
	return func() (done strength) {
		t.Helper()
		stdin.Close()
		raw := <-report
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v\n%s", a.Name, err, stderr.String())
		} else if err := json.Unmarshal(raw, &done); err != nil {
			t.Errorf("%s: %v\n%s", a.Name, err, raw)
		}
		done.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		return done
	}
}

// attackMain is what a process of attackers does in place of running tests. It returns its
// exit code.
func attackMain(description string) int {
	var a attack
	err := json.Unmarshal([]byte(description), &a)
	if err == nil && a.Idle {
		err = becomeIdle()
	}
	if err == nil {
		err = a.run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// becomeIdle puts all threads of the process into the class that runs when no other does. A
// thread inherits it from the one that has made it, so that the program begins anew.
func becomeIdle() error {
	runtime.LockOSThread()
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil || attr.Policy == unix.SCHED_IDLE {
		runtime.UnlockOSThread()
		return err
	}
	if err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_IDLE}, 0); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(program, os.Args, os.Environ())
}

// run attacks until the standard input ends. It prints a line when something is done, and the
// strength.
func (a *attack) run() error {
	i := slices.IndexFunc(assaults, func(assault assault) bool { return assault.name == a.Name })
	pem, err := os.ReadFile(a.CA)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if i < 0 || !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s is no attack, or %s no certificate", a.Name, a.CA)
	}
	ctx, cancel := context.WithCancel(context.Background())
	attacker := &attacker{Context: ctx, addr: a.Addr, admin: a.Admin, roots: roots}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var first sync.WaitGroup
	first.Go(func() {
		for attacker.units.Load() == 0 && attacker.pause(10*time.Millisecond) {
		}
		fmt.Println()
	})
	assaults[i].run(attacker)
	<-ctx.Done()
	first.Wait()
	return json.NewEncoder(os.Stdout).Encode(strength{
		Connections: attacker.connections.Load(), Units: attacker.units.Load(), Bytes: attacker.bytes.Load(),
	})
}

// countedConn counts what an attacker sends.
type countedConn struct {
	net.Conn
	bytes *atomic.Int64
}

// Write implements [net.Conn].
func (c countedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

// dial connects to an address until the attack ends.
func (a *attacker) dial(address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(a, "tcp", address)
	if err != nil {
		return nil, err
	}
	a.connections.Add(1)
	context.AfterFunc(a, func() { conn.Close() })
	return countedConn{conn, &a.bytes}, nil
}

// write writes units of the attack.
func (a *attacker) write(conn net.Conn, text string) {
	if _, err := io.WriteString(conn, text); err == nil {
		a.units.Add(1)
	}
}

// get returns the field block of a GET.
func get(path string) []byte {
	return headerBlock([]hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "chatgpt.com"}, {Name: ":path", Value: path}})
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

// assault is a kind of attack.
type assault struct {
	name string
	unit string // that is counted
	run  func(a *attacker)
}

// assaults are those attacks, each by a label of its own or by no client at all.
var assaults = []assault{
	{"answers over HTTP/2 that nobody reads", "requests", func(a *attacker) {
		a.together(3, 2*time.Second, func() (net.Conn, error) {
			conn, framer, err := a.h2("unread", false)
			if err != nil {
				return nil, err
			}
			block := get("/backend-api/test/bytes?n=100000000")
			for i := range 100 {
				if err := framer.WriteHeaders(http2.HeadersFrameParam{StreamID: uint32(2*i + 1), BlockFragment: block, EndStream: true, EndHeaders: true}); err == nil {
					a.units.Add(1)
				}
			}
			return conn, nil
		})
	}},
	{"uploads that do not end", "uploads", func(a *attacker) {
		const size = 1 << 20
		upload := fmt.Sprintf("POST /backend-api/test/sse?n=1 HTTP/1.1\r\nHost: chatgpt.com\r\nContent-Length: %d\r\n\r\n%s", size, strings.Repeat("x", size-1))
		a.together(250, 2*time.Second, func() (net.Conn, error) {
			conn, err := a.tunnel("uploads", "http/1.1")
			if err == nil {
				a.write(conn, upload)
			}
			return conn, err
		})
	}},
	{"headers of strangers that do not end", "heads", func(a *attacker) {
		header := "CONNECT chatgpt.com:443 HTTP/1.1\r\nX: " + strings.Repeat("x", 250<<10)
		a.together(900, 2*time.Second, func() (net.Conn, error) {
			conn, err := a.dial(a.addr)
			if err == nil {
				a.write(conn, header)
			}
			return conn, err
		})
	}},
	{"headers of many lines that do not end", "heads", func(a *attacker) {
		var header strings.Builder
		header.WriteString("CONNECT chatgpt.com:443 HTTP/1.1\r\n")
		for i := range 4000 {
			fmt.Fprintf(&header, "%x:\r\n", i)
		}
		a.together(900, 2*time.Second, func() (net.Conn, error) {
			conn, err := a.dial(a.addr)
			if err == nil {
				a.write(conn, header.String())
			}
			return conn, err
		})
	}},
	{"headers at the admin port that do not end", "heads", func(a *attacker) {
		header := "GET /metrics HTTP/1.1\r\nX: " + strings.Repeat("x", 250<<10)
		a.together(60, 2*time.Second, func() (net.Conn, error) {
			conn, err := a.dial(a.admin)
			if err == nil {
				a.write(conn, header)
			}
			return conn, err
		})
	}},
	{"headers in tunnels that do not end", "heads", func(a *attacker) {
		header := "GET / HTTP/1.1\r\nHost: chatgpt.com\r\nX: " + strings.Repeat("x", 250<<10)
		a.together(200, 2*time.Second, func() (net.Conn, error) {
			conn, err := a.tunnel("heads", "http/1.1")
			if err == nil {
				a.write(conn, header)
			}
			return conn, err
		})
	}},
	{"requests that are broken off", "requests", func(a *attacker) {
		block := get("/backend-api/test/bytes?n=100000")
		for a.Err() == nil {
			conn, framer, err := a.h2("hasty", true)
			for i := uint32(1); err == nil && a.pause(time.Millisecond); i += 2 {
				err = errors.Join(
					framer.WriteHeaders(http2.HeadersFrameParam{StreamID: i, BlockFragment: block, EndStream: true, EndHeaders: true}),
					framer.WriteRSTStream(i, http2.ErrCodeCancel))
				a.units.Add(1)
			}
			if conn != nil {
				conn.Close()
			}
			a.pause(10 * time.Millisecond)
		}
	}},
	{"floods of frames", "frames", func(a *attacker) {
		block := get("/backend-api/test/echo")
		var all sync.WaitGroup
		for _, flood := range floods {
			all.Go(func() {
				for a.Err() == nil {
					conn, framer, err := a.h2("floods", true)
					for i := uint32(0); err == nil && a.Err() == nil; i++ {
						err = flood(framer, block, i)
						a.units.Add(1)
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
	{"new labels", "labels", func(a *attacker) {
		for i := 0; a.pause(5 * time.Millisecond); i++ {
			a.units.Add(1)
			conn, err := a.tunnel(fmt.Sprintf("made-up-%d", i), "http/1.1")
			if err != nil {
				continue
			}
			_, _ = io.WriteString(conn, "GET /backend-api/test/echo HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n")
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		}
	}},
	{"requests of strangers", "requests", func(a *attacker) {
		for a.pause(2 * time.Millisecond) {
			conn, err := a.dial(a.addr)
			if err != nil {
				continue
			}
			a.write(conn, "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
			_, _ = conn.Read(make([]byte, 1))
			conn.Close()
		}
	}},
	{"silent connections of another user", "connections", func(a *attacker) {
		// All threads of the process, which is this attack's own.
		if err := errors.Join(syscall.Setgid(nobody), syscall.Setuid(nobody)); err != nil {
			panic(err)
		}
		a.together(4000, 10*time.Second, func() (net.Conn, error) {
			conn, err := a.dial(a.addr)
			if err == nil {
				a.units.Add(1)
			}
			return conn, err
		})
	}},
}
