//go:build linux

package integration

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// attacks are what a client does to have the proxy run out of something. Each
// goes on until it is hung up on, or has done enough.
var attacks = []struct {
	name string
	run  func(p *proxy, c net.Conn) error
}{
	{"a header that never ends", func(p *proxy, c net.Conn) error {
		return keepWriting(c, []byte(lines("CONNECT chatgpt.com:443 HTTP/1.1", "X-A: ")[:40]), 1<<20)
	}},
	{"a header byte by byte", func(p *proxy, c net.Conn) error {
		for range 50 {
			if _, err := io.WriteString(c, "G"); err != nil {
				return err
			}
			time.Sleep(250 * time.Millisecond)
		}
		return nil
	}},
	{"a CONNECT without TLS", func(p *proxy, c net.Conn) error {
		_, err := io.WriteString(c, attackConnect)
		return errors.Join(err, untilHangUp(c))
	}},
	{"a handshake that never ends", func(p *proxy, c net.Conn) error {
		_, err := io.WriteString(c, attackConnect+"\x16\x03\x01\x40\x00\x01")
		return errors.Join(err, untilHangUp(c))
	}},
}

// attackConnect is a CONNECT with a session label of the attackers' own.
var attackConnect = lines("CONNECT chatgpt.com:443 HTTP/1.1", "Host: chatgpt.com:443",
	"Proxy-Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("attacker:")))

func keepWriting(c net.Conn, piece []byte, n int) error {
	for sent := 0; sent < n; sent += len(piece) {
		if _, err := c.Write(piece); err != nil {
			return err
		}
	}
	return untilHangUp(c)
}

func untilHangUp(c net.Conn) error {
	_, err := io.Copy(io.Discard, c)
	return err
}

// floods are what an HTTP/2 client does to have a server work for nothing. Each
// writes one frame, or some.
var floods = map[string]func(framer *http2.Framer, block []byte, i uint32) error{
	"rapid reset": func(framer *http2.Framer, block []byte, i uint32) error {
		return errors.Join(
			framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: block, EndStream: true, EndHeaders: true}),
			framer.WriteRSTStream(2*i+1, http2.ErrCodeCancel))
	},
	"CONTINUATION": func(framer *http2.Framer, block []byte, i uint32) error {
		if i == 0 {
			return framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block, EndStream: true})
		}
		return framer.WriteContinuation(1, false, bytes.Repeat([]byte{0x40, 1, 'x', 1, 'y'}, 2000))
	},
	"PING": func(framer *http2.Framer, _ []byte, i uint32) error {
		return framer.WritePing(false, [8]byte{byte(i)})
	},
	"SETTINGS": func(framer *http2.Framer, _ []byte, i uint32) error {
		return framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: i})
	},
}

// TestAttackedByClients has clients that mean harm do all they can at once, while
// another one is served as ever. Their connections are ended, and afterwards
// nothing is left of them.
func TestAttackedByClients(t *testing.T) {
	t.Parallel()
	// Time enough for a handshake of those who mean none, while the machine is busy.
	f := newFixture(t, fixtureConfig{yaml: "limits: {connections: 300, connections_per_label: 100, handshake_timeout: 10s, idle_timeout: 10s}"})
	f.adminOn(t)
	p := f.edit(t, "level: debug", "level: error").serve(t)
	good := p.client(t, "good")
	mustAsk(t, good, http.StatusOK)
	before := p.holds(t)

	var attackers sync.WaitGroup
	for _, attack := range attacks {
		for range 30 {
			conn := dialTCP(t, p.addr)
			attackers.Go(func() {
				defer conn.Close()
				if err := attack.run(p, conn); isTimeout(err) {
					t.Errorf("%s: the proxy has not hung up", attack.name)
				}
			})
		}
	}
	for name, flood := range floods {
		conn := p.tunnel(t, "chatgpt.com", "chatgpt.com", "h2")
		writeString(t, conn, http2.ClientPreface)
		framer := http2.NewFramer(conn, nil)
		framer.AllowIllegalWrites = true
		block := headerBlock(fields(":authority", "chatgpt.com"))
		attackers.Go(func() {
			defer conn.Close()
			var err error
			for i := uint32(0); i < 5000 && err == nil; i++ {
				err = flood(framer, block, i)
			}
			if isTimeout(err) {
				t.Errorf("%s: the proxy neither reads nor hangs up", name)
			}
		})
	}
	for range 50 {
		mustAsk(t, good, http.StatusOK)
	}
	attackers.Wait()
	mustAsk(t, good, http.StatusOK)
	p.returnsTo(t, before, held{descriptors: 20, goroutines: 20, kilobytes: 100 << 10}, rawTimeout)
}

func isTimeout(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}

// headerBlock returns a field block that can be sent again.
func headerBlock(fields []hpack.HeaderField) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, f := range fields {
		f.Sensitive = true        // not remembered
		_ = encoder.WriteField(f) // a buffer takes all
	}
	return block.Bytes()
}

// TestSmuggledRequests sends requests that two parsers may read in two ways, each
// with another one hidden in it. What is forwarded arrives as one request.
func TestSmuggledRequests(t *testing.T) {
	t.Parallel()
	p := serveUsual(t)
	const hidden = "GET /backend-api/test/hidden HTTP/1.1\r\nHost: chatgpt.com\r\nAuthorization: Bearer mine\r\n\r\n"
	for i, test := range []struct {
		name, method, rest string
		status             int
	}{
		{"length before chunked", "POST", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200},
		{"chunked before length", "POST", fmt.Sprintf("Transfer-Encoding: chunked\r\nContent-Length: %d\r\n\r\n0\r\n\r\n", 5+len(hidden)), 200},
		{"two lengths", "POST", fmt.Sprintf("Content-Length: 0\r\nContent-Length: %d\r\n\r\n", len(hidden)), 400},
		{"length with a sign", "POST", "Content-Length: +0\r\n\r\n", 400},
		{"chunked in another spelling", "POST", "Transfer-Encoding: xchunked\r\n\r\n", 501},
		{"chunked before identity", "POST", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501},
		{"space before the colon", "POST", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400},
		{"folded coding", "POST", "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 200},
		{"NUL in a value", "POST", "X-A: a\x00b\r\nContent-Length: 0\r\n\r\n", 400},
		{"CR in a value", "POST", "X-A: a\rContent-Length: 100\r\nContent-Length: 0\r\n\r\n", 400},
		{"body of a GET", "GET", fmt.Sprintf("Content-Length: %d\r\n\r\n", len(hidden)), 200},
		{"Connection names the length", "POST", fmt.Sprintf("Connection: Content-Length\r\nContent-Length: %d\r\n\r\n", len(hidden)), 200},
		{"trailer that is a credential", "POST", "Transfer-Encoding: chunked\r\nTrailer: Authorization\r\n\r\n0\r\nAuthorization: Bearer mine\r\n\r\n", 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := p.tunnel(t, "chatgpt.com", "chatgpt.com", "http/1.1")
			target := fmt.Sprintf("%s?i=%d", echoPath, i)
			a := askHTTP1(t, conn, test.method+" "+target+" HTTP/1.1\r\nHost: chatgpt.com\r\n"+test.rest+hidden)
			conn.Close()
			if a.status != test.status {
				t.Errorf("status %d, want %d", a.status, test.status)
			}
			arrived := 0
			for _, r := range p.fixture.backend.Requests() {
				if r.RequestURI == target {
					arrived++
				}
			}
			if forwarded := a.status == http.StatusOK; forwarded != (arrived == 1) {
				t.Errorf("status %d, and %d requests arrived", a.status, arrived)
			}
		})
	}
	// What followed the whole ones was a request of its own, signed like any.
	for _, r := range p.fixture.backend.Requests() {
		if len(r.Header["Authorization"]) != 1 || strings.Contains(r.Header.Get("Authorization")+r.Trailer.Get("Authorization"), "mine") {
			t.Errorf("%s came with %d credentials, or the client's", r.Path, len(r.Header["Authorization"]))
		}
	}
}
