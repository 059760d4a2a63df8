package access

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestPeerUID(t *testing.T) {
	t.Parallel()
	for _, network := range []struct{ name, address string }{{"tcp4", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}} {
		l, err := net.Listen(network.name, network.address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial(network.name, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		uid, err := peerUID(server)
		if err != nil || int(uid) != os.Getuid() {
			t.Errorf("%s: user %d, %v; want %d", network.name, uid, err, os.Getuid())
		}
	}
}

// TestPeerUIDOfAnother has a process of another user connect. It must run as
// root, as CI does, or as a user who may use sudo -n.
func TestPeerUIDOfAnother(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Log("not root: this test cannot start a process as another user")
		return
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const nobody = 65534
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	cmd := exec.Command("/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/"+port+"; read -u 3")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	uid, err := peerUID(server)
	if err != nil || uid != nobody {
		t.Errorf("user %s, %v; want %d", strconv.Itoa(int(uid)), err, nobody)
	}
	server.Close()
	_ = cmd.Wait()
}

// TestPeerUIDOfClosed asks about a client that has sent its request and closed
// its socket. The kernel gives such a socket to root.
func TestPeerUIDOfClosed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if uid, err := peerUID(server); err != nil || int(uid) != os.Getuid() {
		t.Errorf("half closed: user %d, %v; want %d", uid, err, os.Getuid())
	}
	client.Close()
	if uid, err := peerUID(server); err == nil {
		t.Errorf("closed: user %d, want an error", uid)
	}
	server.Close() // the client's side is in TIME_WAIT now
	if uid, err := peerUID(server); err == nil {
		t.Errorf("closed on both sides: user %d, want an error", uid)
	}
}

// TestPeerUIDOfListener asks about a connection that there is not, from a port
// that somebody listens on.
func TestPeerUIDOfListener(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if uid, err := peerUID(fakeConn{local: "127.0.0.1:1", remote: l.Addr().String()}); err == nil {
		t.Errorf("user %d, want an error", uid)
	}
}
