package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/agentproxy/agentproxy/proxy/hosts"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// deafen has a connection get nothing any more, not even what would be
// acknowledged, as behind a firewall that has forgotten it.
func deafen(t testing.TB, conn net.Conn) {
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	onSocket(t, conn, func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]})
	})
}

// onSocket does something with the socket of a connection.
func onSocket(t testing.TB, conn net.Conn, do func(fd int) error) {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	socket, err := conn.(syscall.Conn).SyscallConn()
	if err == nil {
		err = errors.Join(socket.Control(func(fd uintptr) { err = do(int(fd)) }), err)
	}
	if err != nil {
		t.Error(err)
	}
}

// impatientDialer gives a dead path up soon.
func impatientDialer(address string) *dialer {
	d := newDialer(Config{
		ConnectTo:   map[string]string{proxytest.Host + ":443": address},
		RootCAs:     func() *x509.CertPool { return proxytest.Pool(proxytest.ServerCA()) },
		DialTimeout: proxytest.Patience, // it is the path that is given up, and no slow machine
	}, new(OwnListeners))
	d.paths.every, d.paths.timeout = 20*time.Millisecond, 300*time.Millisecond
	return d
}

// TestDeadPath has the way to a server go dead after its first answer. A request
// that is lost on it fails in time, and goes over a new connection if it may.
func TestDeadPath(t *testing.T) {
	t.Parallel()
	address := proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		r := bufio.NewReader(c)
		head, err := proxytest.RequestHead(r)
		if err != nil {
			return
		}
		deafen(t, c)
		answer := "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
		if strings.Contains(strings.Join(head, "\n"), "Upgrade") {
			answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
		}
		_, _ = io.WriteString(c, answer)
		_, _ = r.ReadByte() // until the test ends
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*proxytest.Patience)
	defer cancel()
	transports := newTransports(impatientDialer(address))
	send := func(method string, upgrade bool) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, method, proxytest.Origin+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.ProtoMajor = 1
		if upgrade {
			r.Header.Set("Connection", "Upgrade")
			r.Header.Set("Upgrade", "websocket")
		}
		return transports.RoundTrip(r)
	}
	for range 2 {
		response, err := send(http.MethodGet, false)
		if err != nil {
			t.Fatal(err)
		}
		if got := proxytest.ReadAll(t, response.Body); got != "hello" {
			t.Errorf("got %q", got)
		}
	}
	_, err := send(http.MethodPost, false)
	if !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("POST: %v", err)
	}
	response, err := send(http.MethodGet, true)
	if err != nil {
		t.Fatal(err)
	}
	upgraded := response.Body.(io.ReadWriteCloser)
	defer upgraded.Close()
	if _, err := io.WriteString(upgraded, "hello"); err != nil {
		t.Error(err)
	}
	if _, err := upgraded.Read(make([]byte, 1)); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("upgraded: %v", err)
	}
}

// TestDeadTunnel has the way to a server go dead under a tunnel.
func TestDeadTunnel(t *testing.T) {
	t.Parallel()
	address := proxytest.NewRawServer(t, func(c net.Conn) {
		deafen(t, c)
		_, _ = io.WriteString(c, "welcome\n")
		_, _ = c.Read(make([]byte, 1)) // until the test ends
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*proxytest.Patience)
	defer cancel()
	conn, err := impatientDialer(address).DialTunnel(ctx, hosts.Target{Host: proxytest.Host, Port: "443"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	r := bufio.NewReader(conn)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(conn, "hello")
	if _, err := r.ReadByte(); !errors.Is(err, syscall.ETIMEDOUT) {
		t.Errorf("read: %v", err)
	}
}

// TestServerThatDoesNotRead has a server acknowledge what it has no room for yet.
// However long it takes until it reads, the connection stays: the system's own
// timeout, which would end it, is off.
func TestServerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	read, got := make(chan struct{}), make(chan int64)
	address := proxytest.NewRawServer(t, func(c net.Conn) {
		<-read
		n, _ := io.Copy(io.Discard, c)
		got <- n
	})
	d := impatientDialer(address)
	d.paths.every = time.Hour // the test looks
	conn, err := d.dialProven(t.Context(), "tcp", proxytest.Host+":443")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := make(chan error)
	go func() {
		_, err := conn.Write(make([]byte, size))
		sent <- errors.Join(err, netconn.CloseWrite(conn))
	}()
	info := func() (info *unix.TCPInfo) {
		onSocket(t, conn, func(fd int) (err error) {
			info, err = unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
			return err
		})
		return info
	}
	proxytest.Eventually(t, func() error {
		if i := info(); i.Snd_wnd > 0 || i.Unacked > 0 || i.Probes == 0 {
			return fmt.Errorf("the window is %d bytes, %d segments are on their way, %d probes", i.Snd_wnd, i.Unacked, i.Probes)
		}
		return nil
	})
	d.paths.look()
	onSocket(t, conn, func(fd int) error {
		timeout, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		if timeout != 0 {
			t.Errorf("the timeout is %d ms", timeout)
		}
		return err
	})
	close(read)
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if n := <-got; n != size {
		t.Errorf("%d bytes came, want %d", n, size)
	}
	_ = conn.Close()
	d.paths.look()
	if len(d.paths.paths) != 0 || d.paths.timer != nil {
		t.Error("a closed connection is looked after")
	}
}
