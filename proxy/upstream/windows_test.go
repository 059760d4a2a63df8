package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"testing"

	"golang.org/x/net/http2"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// TestWindows asks a server what it may send of a response, and on which connection: those who
// have many responses under way, or break off many, have some of their own.
func TestWindows(t *testing.T) {
	t.Parallel()
	type settings struct {
		window uint32
		conn   net.Conn
	}
	got := make(chan settings, 1)
	config := proxytest.ServerTLS()
	config.NextProtos = []string{"h2"}
	proxytest.RefuseHTTP1(config)
	address := proxytest.NewRawServer(t, func(below net.Conn) {
		c := tls.Server(below, config)
		defer c.Close()
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		framer := http2.NewFramer(c, c)
		_ = framer.WriteSettings()
		window := uint32(1<<16 - 1)
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if value, ok := frame.Value(http2.SettingInitialWindowSize); ok {
					window = value
				}
			case *http2.HeadersFrame:
				got <- settings{window, c}
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: frame.StreamID, BlockFragment: []byte{0x88}, EndHeaders: true, EndStream: true}) // :status 200
			}
		}
	})
	transports := newTransports(newDialer(Config{
		ConnectTo: map[string]string{proxytest.Host + ":443": address},
		RootCAs:   func() *x509.CertPool { return proxytest.Pool(proxytest.ServerCA()) },
	}, new(OwnListeners)))
	defer transports.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(t.Context(), proxytest.Patience)
	defer cancel()
	conns := make(map[net.Conn]bool)
	for _, test := range []struct {
		user   string
		window int64
		many   bool
		client int // the version of HTTP; the server speaks HTTP/2 alone
		want   uint32
		conns  int
	}{
		{"a", Window, false, 2, Window, 1},
		{"a", NarrowWindow, true, 2, NarrowWindow, 2},
		{"b", Window, false, 2, Window, 2},
		{"b", Window, true, 2, Window, 3},
		{"b", NarrowWindow, true, 2, NarrowWindow, 4},
		{"b", Window, false, 2, Window, 4},
		{"b", NarrowWindow, true, 1, NarrowWindow, 4},
		{"b", Window, true, 1, Window, 4},
		{"c", Window, false, 1, Window, 4},
		{"hasty", Window, false, 2, Window, 5},
		{"hasty", NarrowWindow, false, 2, NarrowWindow, 6},
		{"hasty", NarrowWindow, false, 1, NarrowWindow, 6},
	} {
		if test.user == "hasty" {
			for range freeResets + 1 {
				transports.NoteReset(test.user)
			}
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, proxytest.Origin+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.ProtoMajor = test.client
		res, err := transports.RoundTripFor(test.user, test.window, test.many, r)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		s := <-got
		if conns[s.conn] = true; s.window != test.want || len(conns) != test.conns {
			t.Errorf("%s with %d: %d bytes, on the %dth connection", test.user, test.window, s.window, len(conns))
		}
	}
}
