package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// The opcodes of RFC 6455, 5.2.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xa

	final  = 0x80
	masked = 0x80
)

// wsFrame returns a frame: first is its first byte, the opcode and its flags. It
// is masked with key unless that is zero.
func wsFrame(first byte, key uint32, payload []byte) []byte {
	frame := []byte{first, 0}
	switch n := len(payload); {
	case n < 126:
		frame[1] = byte(n)
	case n < 1<<16:
		frame[1] = 126
		frame = binary.BigEndian.AppendUint16(frame, uint16(n))
	default:
		frame[1] = 127
		frame = binary.BigEndian.AppendUint64(frame, uint64(n))
	}
	if key == 0 {
		return append(frame, payload...)
	}
	frame[1] |= masked
	mask := binary.BigEndian.AppendUint32(nil, key)
	frame = append(frame, mask...)
	for i, b := range payload {
		frame = append(frame, b^mask[i%4])
	}
	return frame
}

// noise returns n bytes that do not repeat, the same ones every time.
func noise(n int) []byte {
	b := make([]byte, n)
	var seed [32]byte
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

// largeMessage is the size of one that no buffer holds, in bytes.
const largeMessage = 16 << 20 / lighter

func repeated(n int, frame []byte) []byte { return bytes.Repeat(frame, n) }

// fragmented splits payload into frames of size bytes, with between put in
// between any two.
func fragmented(opcode byte, payload []byte, size int, between []byte) (frames []byte) {
	for first := true; first || len(payload) > 0; first = false {
		n := min(size, len(payload))
		op := byte(opContinue)
		if first {
			op = opcode
		} else {
			frames = append(frames, between...)
		}
		if n == len(payload) {
			op |= final
		}
		frames = append(frames, wsFrame(op, 0x01020304, payload[:n])...)
		payload = payload[n:]
	}
	return frames
}

// webSocketCases is what may and what may not be said over a WebSocket, in the
// order of the Autobahn test suite. The proxy is to pass on either as it came:
// it is for the two ends to agree on.
func webSocketCases() map[string][]byte {
	const key = 0xdeadbeef
	ping := wsFrame(final|opPing, key, []byte("ping"))
	large := noise(largeMessage)
	cases := map[string][]byte{
		"1 empty text":               wsFrame(final|opText, key, nil),
		"1 unmasked":                 wsFrame(final|opText, 0, []byte("from a client, too")),
		"1 masked with one byte":     wsFrame(final|opText, 0x000000ff, []byte("hello")),
		"2 ping without payload":     wsFrame(final|opPing, key, nil),
		"2 ping with 125 bytes":      wsFrame(final|opPing, key, noise(125)),
		"2 ping with 126 bytes":      wsFrame(final|opPing, key, noise(126)),
		"2 pong nobody asked for":    wsFrame(final|opPong, key, []byte("pong")),
		"2 flood of pings":           repeated(100_000, ping),
		"2 flood of pongs":           repeated(100_000, wsFrame(final|opPong, 0, nil)),
		"3 reserved bit 1":           wsFrame(final|0x40|opText, key, []byte("x")),
		"3 all reserved bits":        wsFrame(final|0x70|opPing, key, []byte("x")),
		"4 reserved opcode 3":        wsFrame(final|0x3, key, []byte("x")),
		"4 reserved opcode 15":       wsFrame(final|0xf, key, []byte("x")),
		"5 two fragments":            fragmented(opText, []byte("fragments"), 5, nil),
		"5 ping amid a message":      fragmented(opText, noise(1000), 100, ping),
		"5 close amid a message":     fragmented(opBinary, noise(300), 100, wsFrame(final|opClose, key, []byte{3, 232})),
		"5 fragmented ping":          fragmented(opPing, noise(50), 10, nil),
		"5 text amid a message":      fragmented(opText, noise(300), 100, wsFrame(final|opText, key, []byte("x"))),
		"5 continuation of nothing":  wsFrame(final|opContinue, key, []byte("x")),
		"5 empty fragments":          append(repeated(10_000, wsFrame(opContinue, key, nil)), wsFrame(final|opContinue, key, nil)...),
		"6 text that is not UTF-8":   wsFrame(final|opText, key, []byte("\xce\xba\xed\xa0\x80\xff")),
		"6 character split in two":   fragmented(opText, []byte("\u03ba\U0001f600"), 1, ping),
		"7 close without a code":     wsFrame(final|opClose, key, nil),
		"7 close of one byte":        wsFrame(final|opClose, key, []byte{3}),
		"7 close with a reason":      wsFrame(final|opClose, key, append([]byte{3, 232}, "bye"...)),
		"7 close with a bad code":    wsFrame(final|opClose, key, []byte{0, 0}),
		"7 ping after close":         append(wsFrame(final|opClose, key, []byte{3, 232}), ping...),
		"7 two closes":               repeated(2, wsFrame(final|opClose, key, []byte{3, 232})),
		"9 much in one frame":        wsFrame(final|opBinary, key, large),
		"9 much in small frames":     fragmented(opBinary, large, 1000, nil),
		"9 much with pings":          fragmented(opBinary, large, 64<<10, ping),
		"9 much unmasked":            wsFrame(final|opText, 0, large),
		"10 length in more bytes":    {final | opText, 126, 0, 1, 'x'},
		"10 length with a sign":      {final | opText, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 'x'},
		"10 half a header":           {final | opText},
		"10 half a length":           {final | opText, 127, 0, 0},
		"10 half a payload":          wsFrame(final|opBinary, key, noise(1000))[:500],
		"10 no frames at all":        []byte("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n"),
		"10 line ends and NULs":      repeated(1000, []byte("\r\n\x00\r\n\r\n")),
		"12 compressed, as if asked": wsFrame(final|0x40|opText, key, []byte{0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}),
	}
	for _, n := range []int{1, 125, 126, 127, 128, 65535, 65536, 65537} {
		cases[fmt.Sprint("1 text of ", n, " bytes")] = wsFrame(final|opText, key, noise(n))
	}
	return cases
}

// newEcho starts a server that switches to a WebSocket and sends back what comes,
// byte for byte, until the client has said all. It tells how that ended.
func newEcho(t *testing.T) (address string, ended <-chan error) {
	t.Helper()
	ends := make(chan error, 1)
	return proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
		r := bufio.NewReader(c)
		if _, err := proxytest.RequestHead(r); err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, err := io.Copy(c, r)
		ends <- err
		_ = c.CloseWrite()
	}), ends
}

// webSocket opens one through an intercepted tunnel.
func (p *testProxy) webSocket(t *testing.T) *proxytest.RawConn {
	t.Helper()
	c := p.intercepted(t, "http/1.1")
	c.Send(t, upgradeRequest, "websocket")
	if res := c.Response(t, http.MethodGet); res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res.Status)
	}
	return c
}

// TestWebSocketTorture passes all frames, good and bad, both ways, and then the
// end.
func TestWebSocketTorture(t *testing.T) {
	t.Parallel()
	address, ended := newEcho(t)
	p := startProxy(t, address)
	for name, sent := range webSocketCases() {
		t.Run(name, func(t *testing.T) {
			c := p.webSocket(t)
			writing := make(chan error, 1)
			go func() {
				_, err := c.Write(sent)
				writing <- errors.Join(err, c.Conn.(*tls.Conn).CloseWrite())
			}()
			got, err := io.ReadAll(c.R)
			if err := errors.Join(err, <-writing, <-ended); err != nil {
				t.Error(err)
			}
			if !bytes.Equal(got, sent) {
				t.Errorf("%d bytes came back of %d, or others", len(got), len(sent))
			}
			c.Close()
		})
	}
}

// TestWebSocketChopped sends frames in pieces that fit them nowhere.
func TestWebSocketChopped(t *testing.T) {
	t.Parallel()
	address, ended := newEcho(t)
	p := startProxy(t, address)
	chop := func(sent []byte, sizes ...int) {
		for _, size := range sizes {
			c := p.webSocket(t)
			for rest := sent; len(rest) > 0; {
				n := min(size, len(rest))
				c.Send(t, "%s", rest[:n])
				c.Expect(t, string(rest[:n])) // before more is said
				rest = rest[n:]
			}
			closeWriteOf(t, c.Conn)
			c.ExpectEOF(t)
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
	}
	ping := wsFrame(final|opPing, 1, []byte("ping"))
	chop(fragmented(opText, noise(5000), 777, ping), 127, 997)
	// Lengths of both kinds, cut everywhere; each piece takes the way there and back.
	chop(fragmented(opText, noise(500), 130, ping), 1, 2, 3)
}

// TestWebSocketAbruptClose has the client's connection end in the midst of a
// frame: the server gets what was sent, and is not left waiting.
func TestWebSocketAbruptClose(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(c *tls.Conn){
		"closed":      func(c *tls.Conn) { _ = c.Close() },
		"without TLS": func(c *tls.Conn) { _ = c.NetConn().Close() },
		"reset": func(c *tls.Conn) {
			_ = c.NetConn().(*net.TCPConn).SetLinger(0)
			_ = c.NetConn().Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, ended := newEcho(t)
			p := startProxy(t, address)
			c := p.webSocket(t)
			half := wsFrame(final|opBinary, 1, noise(1000))[:500]
			c.Send(t, "%s", half)
			c.Expect(t, string(half))
			end(c.Conn.(*tls.Conn))
			<-ended // however it was told
			p.noneHeld(t)
		})
	}
	t.Run("by the server", func(t *testing.T) {
		t.Parallel()
		half := wsFrame(final|opBinary, 0, noise(1000))[:500]
		p := startProxy(t, proxytest.NewRawTLSServer(t, func(c *tls.Conn) {
			_, _ = proxytest.RequestHead(bufio.NewReader(c))
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"+string(half))
			_ = c.NetConn().Close()
		}))
		c := p.webSocket(t)
		if got, _ := io.ReadAll(c.R); !bytes.Equal(got, half) {
			t.Errorf("%d bytes of half a frame", len(got))
		}
	})
}

// TestWebSocketLarge has two WebSocket libraries exchange a large message, compressed
// and not.
func TestWebSocketLarge(t *testing.T) {
	t.Parallel()
	for name, mode := range map[string]websocket.CompressionMode{
		"plain": websocket.CompressionDisabled, "compressed": websocket.CompressionContextTakeover,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) { echoWebSocket(t, w, r) })
			c := startProxy(t, backend.Listener.Addr().String()).client(t, proxytest.H1)
			c.Timeout = 0
			ctx, cancel := context.WithTimeout(t.Context(), proxytest.Patience)
			defer cancel()
			conn, _, err := websocket.Dial(ctx, "wss://"+proxytest.Host+"/", &websocket.DialOptions{HTTPClient: c, CompressionMode: mode})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			conn.SetReadLimit(-1)
			said := noise(largeMessage)
			writing := make(chan error, 1)
			go func() { writing <- conn.Write(ctx, websocket.MessageBinary, said) }()
			if _, heard, err := conn.Read(ctx); err != nil || !bytes.Equal(heard, said) {
				t.Errorf("%d bytes came back, %v", len(heard), err)
			}
			if err := errors.Join(<-writing, proxytest.CloseSocket(conn, "bye")); err != nil {
				t.Error(err)
			}
		})
	}
}
