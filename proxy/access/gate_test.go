package access

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/agentproxy/agentproxy/internal/contain"
	"github.com/agentproxy/agentproxy/proxy/internal/netconn"
)

// told are the panics that a gate tells of.
type told struct {
	mu  sync.Mutex
	all []*contain.PanicError
}

func (t *told) tell(e *contain.PanicError) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all = append(t.all, e)
}

func (t *told) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

func listenHere(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// TestGatePanics has the program make a mistake in what it does with a connection before a
// request is served, as it may on a goroutine of net/http that reads ahead. That Read fails and
// the next ones do: nobody enters by a mistake.
func TestGatePanics(t *testing.T) {
	t.Parallel()
	everyone := func() Users { return nil }
	nobody := func() Users { return Users{} }
	refuse := func(error) Refusal { panic("sekret") }
	for name, gate := range map[string]Gate{
		"who may enter":       {Users: func() Users { panic("sekret") }},
		"who is turned away":  {Users: nobody, Refusal: refuse},
		"what strangers send": {Users: everyone, PerClient: 1, Refusal: refuse, Strangers: 1},
	} {
		panics := new(told)
		gate.Panicked = panics.tell
		l := listenHere(t)
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		if _, err := client.Write(make([]byte, 2*netconn.FreeHead)); err != nil {
			t.Fatal(err)
		}
		conn, err := gate.listener(l).Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for i := range 2 {
			n, err := io.ReadFull(conn, make([]byte, netconn.FreeHead+2))
			if n != 0 || err == nil || i == 0 && !strings.Contains(err.Error(), "a panic with a string") || strings.Contains(err.Error(), "sekret") {
				t.Errorf("%s: Read %d: %d bytes, %v", name, i, n, err)
			}
		}
		if panics.count() != 1 || !strings.Contains(panics.all[0].Stack(), "gate_test.go") {
			t.Errorf("%s: told of %d panics", name, panics.count())
		}
	}
}

// TestHandlerPanics has a handler behind a gate panic, over HTTP/1.1 and HTTP/2. Its client gets
// no answer, others get theirs, and net/http, which would say what the panic is with, is not told.
func TestHandlerPanics(t *testing.T) {
	t.Parallel()
	panics, said := new(told), new(strings.Builder) // which is read when the server has ended
	server := &http.Server{Protocols: new(http.Protocols), ErrorLog: log.New(said, "", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/panic" {
			panic("sekret")
		}
	})}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	ctx, cancel := context.WithCancel(t.Context())
	l, ended := listenHere(t), make(chan error, 1)
	gate := Gate{Users: func() Users { return nil }, PerClient: 10, Panicked: panics.tell}
	go func() { ended <- gate.Serve(ctx, l, server, 10) }()
	for i, http2 := range []bool{false, true} {
		transport := &http.Transport{Protocols: new(http.Protocols)}
		transport.Protocols.SetHTTP1(!http2)
		transport.Protocols.SetUnencryptedHTTP2(http2)
		client := &http.Client{Transport: transport}
		post := func(path string) error {
			res, err := client.Post("http://"+l.Addr().String()+path, "", nil) // which is not sent again
			if err != nil {
				return err
			}
			defer res.Body.Close()
			return map[bool]error{false: errors.New(res.Status)}[res.StatusCode == http.StatusOK]
		}
		if err := errors.Join(post("/"), post("/")); err != nil {
			t.Error(err)
		}
		if err := post("/panic"); err == nil {
			t.Error("answered")
		}
		if err := post("/"); err != nil {
			t.Error(err)
		}
		if n := panics.count(); n != i+1 {
			t.Errorf("told of %d panics", n)
		}
		transport.CloseIdleConnections()
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if said.Len() > 0 {
		t.Errorf("net/http has said: %s", said)
	}
	for _, e := range panics.all {
		if strings.Contains(e.Error()+e.Stack(), "sekret") || !strings.Contains(e.Stack(), "gate_test.go") {
			t.Errorf("%s\n%s", e, e.Stack())
		}
	}
}
