package proxy

import (
	"bytes"
	"io"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// h2Conn is an HTTP/2 client that sends whatever header it is told to.
type h2Conn struct {
	*proxytest.RawConn
	framer *http2.Framer
	header bytes.Buffer
	enc    *hpack.Encoder
}

func (p *testProxy) h2(t testing.TB) *h2Conn {
	t.Helper()
	return newH2Conn(t, p.intercepted(t, "h2"))
}

func newH2Conn(t testing.TB, raw *proxytest.RawConn) *h2Conn {
	t.Helper()
	c := &h2Conn{RawConn: raw}
	c.framer = http2.NewFramer(c.Conn, c.R)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.header)
	c.Send(t, "%s", http2.ClientPreface)
	if err := c.framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return c
}

// request sends a request without a body: names and values by turns.
func (c *h2Conn) request(t testing.TB, stream uint32, fields ...string) {
	t.Helper()
	c.header.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: stream, BlockFragment: c.header.Bytes(), EndStream: true, EndHeaders: true,
	}); err != nil {
		t.Fatal(err)
	}
}

// status reads until stream is answered, and returns the status or, where the
// stream is reset, "reset".
func (c *h2Conn) status(t testing.TB, stream uint32) string {
	t.Helper()
	for {
		frame, err := c.framer.ReadFrame()
		if err == io.EOF {
			return "closed"
		}
		if err != nil {
			t.Fatalf("stream %d: %v", stream, err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if frame.StreamID == stream {
				return frame.PseudoValue("status")
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return "reset"
			}
		case *http2.GoAwayFrame:
			return "goaway"
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = c.framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = c.framer.WritePing(true, frame.Data)
			}
		}
	}
}
