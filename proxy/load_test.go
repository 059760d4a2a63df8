package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// The size of TestEverythingAtOnce.
const (
	streams    = 200
	events     = 8
	interval   = 100 * time.Millisecond
	websockets = 20
	tunnels    = 20
)

// TestEverythingAtOnce has many event streams, WebSockets and tunnels go
// through one proxy at the same time, and nothing of them remains.
func TestEverythingAtOnce(t *testing.T) {
	check := proxytest.NoneLeft(t)
	t.Run("exchanges", everythingAtOnce)
	check()
}

func everythingAtOnce(t *testing.T) {
	confirmed := make([]chan struct{}, streams)
	for i := range confirmed {
		confirmed[i] = make(chan struct{})
	}
	backend := proxytest.NewBackend(t, proxytest.H2, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			echoWebSocket(t, w, r)
			return
		}
		if r.URL.Path == "/first" {
			return
		}
		i, err := strconv.Atoi(r.URL.RawQuery)
		if err != nil {
			t.Error(err)
			return
		}
		sendEvents(w, r, confirmed[i])
	})

	echo := proxytest.NewRawServer(t, func(c net.Conn) { _, _ = io.Copy(c, c) })
	p := startProxy(t, backend.Listener.Addr().String(), func(c *Config) { c.Upstream.ConnectTo["tunnel.example:7"] = echo })
	defer func() {
		for line := range strings.Lines(p.log.String()) {
			if t.Failed() && (strings.Contains(line, `"from"`) || strings.Contains(line, `"refused"`) || strings.Contains(line, `"failure"`)) {
				t.Log(line)
			}
		}
	}()
	clients := map[string]*http.Client{proxytest.H1: p.client(t, proxytest.H1), proxytest.H2: p.client(t, proxytest.H2)}
	for _, c := range clients {
		// net/http gives a client of HTTP/2 two seconds to begin, for which the machine may be too
		// busy later. One connection to the server has room for all that follows.
		proxytest.ReadAll(t, proxytest.Get(t, c, proxytest.Origin+"/first").Body)
		c.Timeout = 0 // ctx ends what takes too long
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*proxytest.Patience)
	defer cancel()
	streaming, stop := context.WithCancel(ctx) // until the last event has come

	var streamers, talkers sync.WaitGroup
	for i := range streams {
		streamers.Go(func() {
			if err := readEvents(ctx, clients[[]string{proxytest.H1, proxytest.H2}[i%2]], i, confirmed[i]); err != nil {
				t.Errorf("stream %d: %v", i, err)
			}
		})
	}
	for i := range websockets {
		talkers.Go(func() {
			if err := talkWebSocket(ctx, streaming, clients[proxytest.H1]); err != nil {
				t.Errorf("WebSocket %d: %v", i, err)
			}
		})
	}
	for i := range tunnels {
		talkers.Go(func() {
			if err := talkTunnel(streaming, p.addr); err != nil {
				t.Errorf("tunnel %d: %v", i, err)
			}
		})
	}
	streamers.Wait()
	stop()
	talkers.Wait()

	for _, c := range clients {
		c.CloseIdleConnections()
	}
	if err := p.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// sendEvents sends events with a pause between them, and no event before the
// client has got the one before it.
func sendEvents(w http.ResponseWriter, r *http.Request, confirmed <-chan struct{}) {
	w.Header().Set("Content-Type", "text/event-stream")
	for range events {
		_, _ = io.WriteString(w, "data: {}\n\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-confirmed:
		case <-r.Context().Done():
			return
		}
		select {
		case <-time.After(interval):
		case <-r.Context().Done():
			return
		}
	}
}

// readEvents reads stream i and checks that its events come one by one.
func readEvents(ctx context.Context, c *http.Client, i int, confirmed chan<- struct{}) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/?%d", proxytest.Origin, i), nil)
	if err != nil {
		return err
	}
	res, err := c.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(res.Body)
		return fmt.Errorf("answered %s: %s", res.Status, body)
	}
	lines := bufio.NewScanner(res.Body)
	var came []time.Time
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "data:") {
			came = append(came, time.Now())
			select {
			case confirmed <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	if err := lines.Err(); err != nil || len(came) != events {
		return fmt.Errorf("%d events, then %v", len(came), err)
	}
	for i := range came[1:] {
		if apart := came[i+1].Sub(came[i]); apart < interval/2 {
			return fmt.Errorf("events %d and %d came within %v, were sent at least %v apart", i, i+1, apart, interval)
		}
	}
	return nil
}

// talkWebSocket has a WebSocket echo until streaming ends, and at least once.
func talkWebSocket(ctx, streaming context.Context, c *http.Client) error {
	conn, res, err := websocket.Dial(ctx, "wss://"+proxytest.Host+"/", &websocket.DialOptions{
		HTTPClient: c, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		if res != nil && res.Body != nil {
			body, _ := io.ReadAll(res.Body)
			return fmt.Errorf("%w: %s", err, body)
		}
		return err
	}
	defer conn.CloseNow()
	for i := 0; i == 0 || streaming.Err() == nil; i++ {
		said := strings.Repeat(fmt.Sprintf("message %d ", i), 100)
		if err := conn.Write(ctx, websocket.MessageText, []byte(said)); err != nil {
			return err
		}
		if _, heard, err := conn.Read(ctx); err != nil || string(heard) != said {
			return fmt.Errorf("echo of %d bytes: %d, %w", len(said), len(heard), err)
		}
		pause(streaming)
	}
	return proxytest.CloseSocket(conn, "")
}

// talkTunnel has a tunnel carry data until streaming ends, and at least once.
func talkTunnel(streaming context.Context, proxy string) error {
	conn, err := net.DialTimeout("tcp", proxy, proxytest.Patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * proxytest.Patience))
	fmt.Fprint(conn, "CONNECT tunnel.example:7 HTTP/1.1\r\nHost: tunnel.example:7\r\n\r\n")
	r := bufio.NewReader(conn)
	res, err := http.ReadResponse(r, &http.Request{Method: http.MethodConnect})
	if err != nil || res.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT: %v, %v", res, err)
	}
	said := strings.Repeat("0123456789abcdef", 4<<10)
	for i := 0; i == 0 || streaming.Err() == nil; i++ {
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(conn, said)
			sent <- err
		}()
		heard := make([]byte, len(said))
		if _, err := io.ReadFull(r, heard); err != nil || string(heard) != said {
			return fmt.Errorf("echo: %w", err)
		}
		if err := <-sent; err != nil {
			return err
		}
		pause(streaming)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	rest, err := io.ReadAll(r)
	if err != nil || len(rest) > 0 {
		return fmt.Errorf("%d bytes at the end, %w", len(rest), err)
	}
	return nil
}

// pause leaves the processor to others.
func pause(streaming context.Context) {
	select {
	case <-time.After(interval / 4):
	case <-streaming.Done():
	}
}

// TestAbortedStreams has clients leave in the middle of their streams: the
// requests to the server are cancelled, and nothing remains.
func TestAbortedStreams(t *testing.T) {
	for _, client := range []string{proxytest.H1, proxytest.H2} {
		for _, server := range []string{proxytest.H1, proxytest.H2} {
			t.Run(client+" to "+server, func(t *testing.T) {
				check := proxytest.NoneLeft(t)
				t.Run("streams", func(t *testing.T) { abortStreams(t, client, server) })
				check()
			})
		}
	}
}

func abortStreams(t *testing.T, client, server string) {
	const aborted = 60
	cancelled := make(chan struct{}, aborted)
	backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		cancelled <- struct{}{}
	})
	p := startProxy(t, backend.Listener.Addr().String())
	c := p.client(t, client)
	var wg sync.WaitGroup
	for range aborted {
		wg.Go(func() {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, proxytest.Origin+"/", nil)
			res, err := c.Do(r)
			if err != nil {
				t.Error(err)
				cancelled <- struct{}{}
				return
			}
			cancel()
			res.Body.Close()
		})
	}
	wg.Wait()
	for range aborted {
		select {
		case <-cancelled:
		case <-time.After(proxytest.Patience):
			t.Fatal("the server still has requests that nobody waits for")
		}
	}
	p.logged(t, `"failure":"`)
}

// TestAbortBeforeAnswer has a client leave before the server answered.
func TestAbortBeforeAnswer(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		began, cancelled := make(chan struct{}), make(chan struct{})
		backend := proxytest.NewBackend(t, server, func(_ http.ResponseWriter, r *http.Request) {
			close(began)
			<-r.Context().Done()
			close(cancelled)
			panic(http.ErrAbortHandler) // an answer could be as fast as the client's end
		})
		p := startProxy(t, backend.Listener.Addr().String())
		ctx, cancel := context.WithCancel(context.Background())
		go func() {
			<-began
			cancel()
		}()
		r, _ := http.NewRequestWithContext(ctx, http.MethodGet, proxytest.Origin+"/", nil)
		if res, err := p.client(t, client).Do(r); err == nil {
			res.Body.Close()
			t.Error("answered")
		}
		proxytest.Wait(t, "the server's request is cancelled", cancelled)
		p.logged(t, `"failure":"cancelled"`)
	})
}
