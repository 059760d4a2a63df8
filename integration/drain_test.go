//go:build linux

package integration

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// drainSteps is how many events, half a second apart, or messages a drain is
// tested with.
const drainSteps = 8

// TestDrain sends SIGTERM under 200 streams and WebSockets. Those that end
// within the bound are not cut, new connections are refused at once, and the
// exit code is 0, which serve checks. The WebSockets go on after that.
func TestDrain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{backend: chatgpttest.Config{}})
	var working, done sync.WaitGroup
	var whole atomic.Int64
	refused := make(chan struct{})
	t.Run("serve", func(t *testing.T) {
		p := f.serve(t)
		for i := range 100 {
			client := p.client(t, "")
			working.Add(1)
			done.Go(func() {
				defer client.CloseIdleConnections()
				ctx, cancel := context.WithTimeout(context.Background(), clientTimeout)
				defer cancel()
				if err := streamThrough(ctx, client, drainSteps, 500*time.Millisecond, working.Done); err != nil {
					t.Errorf("stream %d: %v", i, err)
					return
				}
				whole.Add(1)
			})
			socketCtx, socket := p.dialWebSocket(t, "/backend-api/test/ws-echo", websocket.CompressionDisabled)
			working.Add(1)
			done.Go(func() {
				if err := talk(socketCtx, socket, working.Done, refused); err != nil {
					t.Errorf("WebSocket %d: %v", i, err)
					return
				}
				whole.Add(1)
			})
		}
		working.Wait()
		if err := p.process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		eventually(t, "new connections to be refused", func() bool {
			conn, err := net.Dial("tcp", p.addr)
			if err == nil {
				conn.Close()
			}
			return err != nil
		})
		close(refused)
		done.Wait()
		if n := whole.Load(); n != 200 {
			t.Errorf("%d of 200 streams and WebSockets were whole", n)
		}
	})
}

// talk echoes a message, the rest when it may go on, and says goodbye.
func talk(ctx context.Context, socket *websocket.Conn, begun func(), goOn <-chan struct{}) error {
	for i := range drainSteps {
		want := fmt.Sprint("message ", i)
		if err := socket.Write(ctx, websocket.MessageText, []byte(want)); err != nil {
			begun()
			return err
		}
		_, got, err := socket.Read(ctx)
		if i == 0 {
			begun()
		}
		if err != nil {
			return err
		}
		if string(got) != want {
			return fmt.Errorf("echoed %q, want %q", got, want)
		}
		select {
		case <-goOn:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return closeSocket(socket, websocket.StatusNormalClosure, strings.Repeat("x", 10))
}
