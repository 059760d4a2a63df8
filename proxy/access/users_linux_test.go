package access

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/rs/zerolog"
)

// fakeConn is a TCP connection that the kernel does not know.
type fakeConn struct {
	net.Conn
	local, remote string
}

func (c fakeConn) LocalAddr() net.Addr  { return tcpAddr(c.local) }
func (c fakeConn) RemoteAddr() net.Addr { return tcpAddr(c.remote) }

func tcpAddr(s string) net.Addr {
	addr, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		panic(err)
	}
	return addr
}

// TestUnknownUser refuses connections whose user cannot be told.
func TestUnknownUser(t *testing.T) {
	t.Parallel()
	own := Users{uint32(os.Getuid()), 0}
	if err := own.Check(context.Background()); err == nil {
		t.Error("a request on no known connection is let in")
	}
	ctx := own.ConnContext(context.Background(), fakeConn{local: "127.0.0.1:1", remote: "127.0.0.1:2"})
	for range 2 {
		if err := own.Check(ctx); err == nil {
			t.Error("a connection that the kernel does not know is let in")
		}
	}
	r := httptest.NewRequestWithContext(ctx, http.MethodConnect, "http://chatgpt.com:443", nil)
	_, refused := New(Config{Users: own}, zerolog.Nop()).Admit(r)
	if refused == nil || refused.Code != "foreign_user" || refused.Status != http.StatusForbidden {
		t.Errorf("refused: %+v", refused)
	}
}
