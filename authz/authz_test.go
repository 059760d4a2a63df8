package authz

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/agentproxy/agentproxy/proxy"
)

// TestServeDrains answers who has asked when the end comes, and nobody after
// that.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	asked, decide := make(chan struct{}), make(chan struct{})
	config := Config{Authorize: func(ctx context.Context, _ proxy.Ask) proxy.Answer {
		close(asked)
		<-decide
		if ctx.Err() != nil {
			return proxy.Refusal(http.StatusServiceUnavailable, "signing_failed", ctx.Err().Error())
		}
		return granted()
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, l, func() Config { return config }) }()

	answered := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + l.Addr().String() + "/ext-authz/chatgpt.com/")
		if err != nil {
			answered <- err.Error()
			return
		}
		response.Body.Close()
		answered <- response.Status
	}()
	<-asked
	cancel()
	for { // until the listener is closed
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		conn.Close()
	}
	close(decide)
	if got := <-answered; got != "200 OK" {
		t.Errorf("who had asked got %s", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
