//go:build linux

package integration

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listenAsSystemd opens what f's configuration is then changed to name.
func listenAsSystemd(t *testing.T, f *fixture, oldLine, key, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	name := l.Addr().String()
	if network == "unix" {
		name = "unix:" + name
	}
	f.edit(t, oldLine, key+": "+name)
	return l
}

// passSockets has agentproxy serve find the sockets as systemd's services do.
func passSockets(t *testing.T, f *fixture, listeners ...net.Listener) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*clientTimeout) // the test's ends before the proxy
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "sh", "-c", `LISTEN_FDS=$1 LISTEN_PID=$$; export LISTEN_FDS LISTEN_PID; shift; exec "$@"`, "sh",
		string('0'+rune(len(listeners))), agentproxy, "serve", "--config", f.config)
	for _, l := range listeners {
		file, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	return cmd
}

// TestSocketActivation has systemd's part played by the test: the sockets are
// there before the program, and it tells what becomes of it.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	clients := listenAsSystemd(t, f, "listen: 127.0.0.1:0", "listen", "tcp", "127.0.0.1:0")
	admin := listenAsSystemd(t, f, `admin: ""`, "admin", "tcp", "127.0.0.1:0")
	notified, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	expect := func(prefix string) {
		t.Helper()
		buffer := make([]byte, 4096)
		_ = notified.SetReadDeadline(time.Now().Add(clientTimeout))
		n, err := notified.Read(buffer)
		if got := string(buffer[:n]); err != nil || !strings.HasPrefix(got, prefix) {
			t.Errorf("systemd was told %q (%v), want %q", got, err, prefix)
		}
	}
	t.Cleanup(func() { // once the proxy has ended
		expect("STOPPING=1")
		notified.Close()
	})

	// The first client is there before the program.
	early, err := net.Dial("tcp", clients.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer early.Close()
	if _, err := io.WriteString(early, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: chatgpt.com:443\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	cmd := passSockets(t, f, clients, admin)
	cmd.Env = append(baseEnv(t), "NOTIFY_SOCKET="+notified.LocalAddr().String())
	p := f.startCommand(t, cmd)
	p.env = p.clientEnv(t)
	if p.addr != clients.Addr().String() {
		t.Errorf("it listens on %s", p.addr)
	}
	if answer, err := http.ReadResponse(bufio.NewReader(early), nil); err != nil || answer.StatusCode != 200 {
		t.Errorf("the early client: %v, %v", answer, err)
	}
	expect("READY=1\nSTATUS=listening on " + p.addr + ", signing as agent ")
	if r := curl(t, p.env, backendAPI+"/test/echo"); r.Code != 200 {
		t.Errorf("status %d\n%s%s", r.Code, r.body, r.stderr)
	}
	if r := curl(t, baseEnv(t), "http://"+admin.Addr().String()+"/readyz"); r.Code != 200 {
		t.Errorf("the admin port: status %d\n%s%s", r.Code, r.body, r.stderr)
	}
	if needRoot(t) {
		if r := p.curlAs(t, nobody, backendAPI+"/test/echo"); r.Connect != 403 {
			t.Errorf("another user: CONNECT answered with %d, want 403", r.Connect)
		}
	}
	if err := p.process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	expect("RELOADING=1")
	expect("READY=1")
}

// TestSocketActivationRefused has systemd pass a socket that nobody would serve,
// and one that lets in more people than the configuration does.
func TestSocketActivationRefused(t *testing.T) {
	t.Parallel()
	unserved := newFixture(t, fixtureConfig{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	public := newFixture(t, fixtureConfig{})
	socket := listenAsSystemd(t, public, "listen: 127.0.0.1:0", "listen", "unix", filepath.Join(t.TempDir(), "s"))
	if err := os.Chmod(socket.Addr().String(), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		fixture *fixture
		passed  net.Listener
		want    string
	}{
		{unserved, l, "systemd passed a socket on " + l.Addr().String() + ", which is none of the addresses in the configuration; have ListenStream= and listen (or admin) say the same"},
		{public, socket, "listen on " + socket.Addr().String() + ": systemd made it with mode 0666, so that others can connect; set SocketMode=0600 in the socket unit"},
	} {
		cmd := passSockets(t, test.fixture, test.passed)
		cmd.Env = baseEnv(t)
		if r := runCommand(t, cmd); r.code != 1 || r.stderr != "agentproxy: "+test.want+"\n" {
			t.Errorf("exit code %d, %q, want %q", r.code, r.stderr, test.want)
		}
	}
}

// TestSystemdSocketActivate has systemd's own program wait for the first client,
// start the proxy, and pass it the socket.
func TestSystemdSocketActivate(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	address := freeAddress(t)
	f.edit(t, "listen: 127.0.0.1:0", "listen: "+address)
	cmd := command(t, baseEnv(t), systemProgram(t, "systemd-socket-activate"), "--listen="+address, agentproxy, "serve", "--config", f.config)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var client net.Conn
	eventually(t, "the socket", func() bool {
		var err error
		client, err = new(net.Dialer).DialContext(context.Background(), "tcp", address)
		return err == nil
	})
	defer client.Close()
	_ = client.SetDeadline(time.Now().Add(clientTimeout))
	if _, err := io.WriteString(client, "CONNECT chatgpt.com:443 HTTP/1.1\r\nHost: chatgpt.com:443\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(client), nil)
	if err != nil || answer.StatusCode != 200 {
		t.Errorf("%v, %v", answer, err)
	}
	client.Close()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(stderr.String(), "agentproxy: listening on "+address) {
		t.Errorf("%v\n%s", err, stderr.String())
	}
}
