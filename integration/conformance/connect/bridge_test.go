package connect

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// A bridge leads connections to one of its ports through an agentproxy to a
// server. Clients that know of no proxy take it for the server, under the name
// localhost.
type bridge struct {
	listener net.Listener
	proxy    *exec.Cmd
	ended    chan struct{} // what the proxy writes is read to its end
	address  string        // of the proxy
	ca       []byte        // what the proxy vouches with, as PEM
	dir      string
	conns    sync.WaitGroup
}

// token is what the proxy signs with.
const token = "conformance-token"

var listening = regexp.MustCompile(`^agentproxy: listening on (\S+), signing as .*, CA (.+)$`)

// newBridge starts agentproxy, with server for what it asks as localhost.
func newBridge(server string, serverCA []byte) (_ *bridge, err error) {
	b := &bridge{ended: make(chan struct{})}
	if b.dir, err = os.MkdirTemp("", "agentproxy-bridge-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	if b.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	for name, content := range map[string]string{
		"ca.pem": string(serverCA),
		"token":  token,
		"agentproxy.yaml": fmt.Sprintf(`listen: 127.0.0.1:0
admin: ""
state_dir: %[1]q
chatgpt: {hosts: [chatgpt.com, localhost]}
scope: {allow: [{host: "localhost:%[3]d", path: "/**"}]}
identity: {codex_home: %[1]q, register: false}
signer: {use: token, token_file: %[2]q}
upstream:
  connect_to: {"localhost:%[3]d": %[4]q}
  ca_file: %[5]q
other_hosts: refuse
log: {level: warn}
`, filepath.Join(b.dir, "state"), filepath.Join(b.dir, "token"), b.port(), server, filepath.Join(b.dir, "ca.pem")),
	} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	if err := b.startProxy(); err != nil {
		return nil, err
	}
	b.conns.Go(b.accept)
	return b, nil
}

// startProxy returns when agentproxy listens.
func (b *bridge) startProxy() error {
	cmd := exec.Command(os.Getenv(agentproxyVar), "serve", "--config", filepath.Join(b.dir, "agentproxy.yaml"))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // of the wrapper
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	b.proxy = cmd
	ready := make(chan []string, 1)
	go func() {
		defer close(b.ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				ready <- m
			} else if !strings.HasPrefix(lines.Text(), "agentproxy: ") {
				fmt.Fprintln(os.Stderr, lines.Text())
			}
		}
	}()
	select {
	case m := <-ready:
		b.address = m[1]
		b.ca, err = os.ReadFile(m[2])
		return err
	case <-b.ended:
		return errors.New("agentproxy did not start")
	}
}

func (b *bridge) port() int { return b.listener.Addr().(*net.TCPAddr).Port }

// accept leads connections on until the listener is closed.
func (b *bridge) accept() {
	for {
		conn, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.conns.Go(func() {
			if err := b.lead(conn.(*net.TCPConn)); err != nil {
				fmt.Fprintln(os.Stderr, "bridge:", err)
			}
		})
	}
}

// lead opens a tunnel for a connection, and passes on what comes from either
// side, ends included.
func (b *bridge) lead(client *net.TCPConn) error {
	defer client.Close()
	conn, err := net.Dial("tcp", b.address)
	if err != nil {
		return err
	}
	proxy := conn.(*net.TCPConn)
	defer proxy.Close()
	authority := net.JoinHostPort("localhost", strconv.Itoa(b.port()))
	if _, err := fmt.Fprintf(proxy, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", authority); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(proxy), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return errors.New(answer.Status)
	}
	var up sync.WaitGroup
	up.Go(func() { pass(proxy, client) })
	pass(client, proxy)
	up.Wait()
	return nil
}

// pass copies until from ends, and ends to in the same way: with a reset where
// from was reset.
func pass(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = to.SetLinger(0)
		_ = to.Close()
		_ = from.Close()
		return
	}
	_ = to.CloseWrite()
}

// close ends the proxy, which must end well.
func (b *bridge) close() (err error) {
	if b.listener != nil {
		b.listener.Close()
	}
	if b.proxy != nil {
		err = b.proxy.Process.Signal(syscall.SIGTERM)
		<-b.ended
		err = errors.Join(err, b.proxy.Wait())
	}
	b.conns.Wait()
	return errors.Join(err, os.RemoveAll(b.dir))
}
