//go:build linux

package integration

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
)

// tortureServer is ChatGPT as a server of WebSockets that tries its clients. Each path is
// a case of websockets/cases.mjs, and a page runs them in a browser.
type tortureServer struct {
	t        *testing.T
	outcomes chan string // that pages have sent

	mu    sync.Mutex
	heard []websocket.CloseError // from clients that close
}

func newTortureServer(t *testing.T) *tortureServer {
	t.Helper()
	return &tortureServer{t: t, outcomes: make(chan string, 1)}
}

// takeHeard returns how clients have closed since it was asked last.
func (s *tortureServer) takeHeard() []websocket.CloseError {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard := s.heard
	s.heard = nil
	return heard
}

func (s *tortureServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AgentAssertion ") {
		s.t.Errorf("%s is not signed", r.URL)
	}
	raw := map[string]func(*http.Request, net.Conn, *bufio.ReadWriter){
		"/fragments": s.fragments, "/broken": s.broken, "/abrupt": s.abrupt,
	}[r.URL.Path]
	switch {
	case r.URL.Path == "/cases.mjs":
		w.Header().Set("Content-Type", "text/javascript")
		_, _ = io.WriteString(w, readFile(s.t, "websockets/cases.mjs"))
	case r.URL.Path == "/outcome":
		outcome, _ := io.ReadAll(r.Body)
		s.outcomes <- string(outcome)
	case r.URL.Path == "/refused":
		http.Error(w, "refused", http.StatusForbidden)
	case r.Header.Get("Upgrade") == "":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, torturePage)
	case raw != nil:
		conn, rw := s.hijack(w, r)
		defer conn.Close()
		raw(r, conn, rw)
	default:
		s.converse(w, r)
	}
}

const torturePage = `<!doctype html><link rel=icon href=data:,><script type=module>
import { torture } from '/cases.mjs';
const open = (path, protocols) => new WebSocket('wss://' + location.host + path, protocols);
let outcome;
try { outcome = await torture(open); } catch (e) { outcome = String(e); }
await fetch('/outcome', { method: 'POST', body: JSON.stringify(outcome) });
</script>`

// converse plays the cases that a library can play.
func (s *tortureServer) converse(w http.ResponseWriter, r *http.Request) {
	o := websocket.AcceptOptions{Subprotocols: []string{"chat.v1", "chat.v2"}}
	if r.URL.Path == "/deflate" {
		o.CompressionMode, o.CompressionThreshold = websocket.CompressionContextTakeover, 1
	}
	conn, err := websocket.Accept(w, r, &o)
	if err != nil {
		s.t.Errorf("%s: %v", r.URL, err)
		return
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	if r.URL.Path == "/close" {
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		_ = conn.Close(websocket.StatusCode(code), "the server’s reason")
		return
	}
	for {
		typ, message, err := conn.Read(r.Context())
		if err != nil {
			if r.URL.Path == "/heard" {
				heard, _ := errors.AsType[websocket.CloseError](err)
				s.mu.Lock()
				defer s.mu.Unlock()
				s.heard = append(s.heard, heard)
			}
			return
		}
		if err := conn.Write(r.Context(), typ, message); err != nil {
			return
		}
	}
}

// hijack makes a WebSocket whose frames the caller writes. If the client offers
// permessage-deflate, it is agreed on.
func (s *tortureServer) hijack(w http.ResponseWriter, r *http.Request) (net.Conn, *bufio.ReadWriter) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	extensions := ""
	if strings.Contains(r.Header.Get("Sec-WebSocket-Extensions"), "permessage-deflate") && r.URL.Query().Get("how") == "deflated" {
		extensions = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	}
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
		base64.StdEncoding.EncodeToString(sum[:]), extensions)
	return conn, rw
}

// wsFrame returns a frame of a server: first is its first byte, the opcode and its flags.
func wsFrame(first byte, payload string) []byte {
	frame := []byte{first, byte(len(payload))}
	if n := len(payload); n > 125 {
		frame = binary.BigEndian.AppendUint16([]byte{first, 126}, uint16(n))
	}
	return append(frame, payload...)
}

// closeFrame is a frame with code 1000.
var closeFrame = wsFrame(0x88, "\x03\xe8")

// fragments sends a text in fragments of a byte, with a ping after each, and says how many
// were answered in order.
func (s *tortureServer) fragments(_ *http.Request, _ net.Conn, rw *bufio.ReadWriter) {
	const text = "κόσμε 😀"
	for i := range len(text) {
		opcode := byte(0) // continuation
		if i == 0 {
			opcode = 1
		}
		if i == len(text)-1 {
			opcode |= 0x80
		}
		_, _ = rw.Write(wsFrame(opcode, text[i:i+1]))
		_, _ = rw.Write(wsFrame(0x89, fmt.Sprint("ping ", i)))
	}
	_ = rw.Flush()
	pongs := 0
	for ; pongs < len(text); pongs++ {
		if opcode, payload, err := readFrame(rw.Reader); err != nil || opcode != 0xa || payload != fmt.Sprint("ping ", pongs) {
			s.t.Errorf("pong %d is %x %q, %v", pongs, opcode, payload, err)
			break
		}
	}
	_, _ = rw.Write(wsFrame(0x81, fmt.Sprint(pongs, " pongs")))
	_, _ = rw.Write(closeFrame)
	_ = rw.Flush()
	_, _, _ = readFrame(rw.Reader) // the client's
}

// readFrame reads a frame of a client.
func readFrame(r *bufio.Reader) (opcode byte, payload string, err error) {
	head := make([]byte, 6)
	if _, err := io.ReadFull(r, head); err != nil {
		return 0, "", err
	}
	if head[1] < 0x80 || head[1]&0x7f > 125 {
		return 0, "", fmt.Errorf("a frame begins with %x", head)
	}
	body := make([]byte, head[1]&0x7f)
	_, err = io.ReadFull(r, body)
	for i := range body {
		body[i] ^= head[2+i%4]
	}
	return head[0] & 0xf, string(body), err
}

// broken sends what no client may take for a message.
func (s *tortureServer) broken(r *http.Request, _ net.Conn, rw *bufio.ReadWriter) {
	how := map[string][]byte{
		"reserved":     wsFrame(0xc1, "reserved bit"),
		"opcode":       wsFrame(0x83, "opcode 3"),
		"continuation": wsFrame(0x80, "of nothing"),
		"utf8":         wsFrame(0x81, "\xce\xba\xed\xa0\x80\xff"),
		"ping":         wsFrame(0x89, strings.Repeat("x", 126)),
		"masked":       append([]byte{0x81, 0x82, 1, 2, 3, 4}, 'o'^1, 'k'^2),
		"closing":      wsFrame(0x88, "\x00"),
		"deflated":     wsFrame(0xc1, "\xff\xff\xff\xff"), // no block of deflate begins so
	}[r.URL.Query().Get("how")]
	_, _ = rw.Write(how)
	_ = rw.Flush()
	// Until the client hangs up. Some do that with a close frame, and wait for the server.
	if _, _, err := readFrame(rw.Reader); err == nil {
		_, _ = rw.Write(closeFrame)
		_ = rw.Flush()
	}
}

// abrupt sends a message, half a frame and no more, when it has heard something: Firefox
// has nothing of a WebSocket that ends before it has looked at it.
func (s *tortureServer) abrupt(_ *http.Request, _ net.Conn, rw *bufio.ReadWriter) {
	_ = rw.Flush()
	_, _, _ = readFrame(rw.Reader)
	_, _ = rw.Write(wsFrame(0x81, "first"))
	_, _ = rw.Write(wsFrame(0x81, "second")[:4])
	_ = rw.Flush()
}
