package proxy

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/cut"
	"github.com/agentproxy/agentproxy/proxy/internal/live"
	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestUploadOfNobody has an upload wait for room whose client leaves. It is not sent to the
// server, although all of it has come.
func TestUploadOfNobody(t *testing.T) {
	t.Parallel()
	const size = 100 << 10
	begun := make(chan struct{}, 1)
	var others atomic.Int64
	backend := proxytest.NewBackend(t, proxytest.H1, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/left" {
			others.Add(1)
		} else {
			begun <- struct{}{}
		}
		_, _ = io.Copy(io.Discard, r.Body)
	})
	p := startProxy(t, backend.Listener.Addr().String())
	bounds := live.BoundsOf(1<<30, 100)
	bounds.Uploads = live.Share{All: 128 << 10, Label: 128 << 10}
	p.live.set.SetBounds(bounds)
	upload := func(path string) *proxytest.RawConn {
		c := p.intercepted(t)
		c.Send(t, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\nx", path, proxytest.Host, size)
		return c
	}
	rest := strings.Repeat("x", size-1)
	first := upload("/first")
	defer first.Close()
	<-begun
	left := upload("/left")
	left.Send(t, "%s", rest)
	proxytest.Eventually(t, func() error {
		if n := p.live.set.UploadsWaiting(); n != 1 {
			return fmt.Errorf("%d uploads wait", n)
		}
		return nil
	})
	left.Close()
	proxytest.Eventually(t, func() error {
		err := errors.New("the upload's client has not left")
		p.live.set.Locked(func(all iter.Seq[live.Exchange]) {
			for e := range all {
				if x := e.(*exchange); x.path == "/left" && cut.HasLeft(x.client) {
					err = nil
				}
			}
		})
		if strings.Contains(p.log.String(), `"path":"/left"`) { // it has waited too long
			return nil
		}
		return err
	})
	first.Send(t, "%s", rest)
	if res := first.Response(t, http.MethodPost); res.StatusCode != http.StatusOK {
		t.Errorf("the first: %s", res.Status)
	}
	p.logged(t, `"path":"/left"`)
	if n := others.Load(); n != 0 {
		t.Error("the server got the upload whose client has left")
	}
}

// TestHasLeft looks at a connection whose client sends something and ends it, or resets it.
func TestHasLeft(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, linger := range []int{-1, 0} {
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := client.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if cut.HasLeft(conn) {
			t.Error("it has left")
		}
		_ = client.(*net.TCPConn).SetLinger(linger)
		client.Close()
		proxytest.Eventually(t, func() error {
			if !cut.HasLeft(conn) {
				return errors.New("it has not left")
			}
			return nil
		})
	}
}
