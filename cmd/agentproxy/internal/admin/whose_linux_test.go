package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access"
)

// TestWhoseTokenGoes shows the token to the proxy of a user who may have it, and to
// nobody else who listens where the proxy should.
func TestWhoseTokenGoes(t *testing.T) {
	t.Parallel()
	own := uint32(os.Geteuid())
	for _, test := range []struct {
		name    string
		servers access.Users
		token   string
		asked   bool
	}{
		{"own", access.Users{own}, "sesame", true},
		{"another user", access.Users{own + 1}, "sesame", false},
		{"another user, no token", access.Users{own + 1}, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Bool
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Store(true)
				fmt.Fprint(w, "{}")
			}))
			defer server.Close()
			address := server.Listener.Addr().String()
			_, err := (&Client{address, "tcp", address, test.token, test.servers}).Status(t.Context())
			if asked.Load() != test.asked || test.asked != (err == nil) {
				t.Fatalf("asked: %v, %v", asked.Load(), err)
			}
			if err != nil && (!strings.Contains(err.Error(), fmt.Sprintf("process of user %d", own)) || strings.Contains(err.Error(), "is agentproxy serve running")) {
				t.Error(err)
			}
		})
	}
}

// TestServerThatAcceptsLate has nobody accept at first: the kernel gives such a connection
// to root, whoever listens.
func TestServerThatAcceptsLate(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	users := access.Users{uint32(os.Geteuid()), 0}
	if err := CheckServer(ended, c, users); err == nil {
		t.Fatal("a connection that nobody has accepted is trusted")
	}
	checked := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { checked <- CheckServer(ctx, c, users) }()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if err := <-checked; err != nil {
		t.Error(err)
	}
}

// TestMayHaveToken trusts the user whose state directory it is.
func TestMayHaveToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 1234, -1); err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(mayHaveToken(dir)); got != "[0 0 1234]" {
			t.Error(got)
		}
	}
	if got, want := fmt.Sprint(mayHaveToken(dir+"/missing")), fmt.Sprintf("[%d 0]", os.Geteuid()); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
