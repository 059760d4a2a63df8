package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

// refusing says how a server of HTTP/2 does not process a request.
type refusing struct {
	first  int  // so many requests
	early  bool // before the body has come
	goAway bool // by the end of the connection
	last   uint32
	code   http2.ErrCode
}

// newRefusingServer starts a server of HTTP/2 that refuses as r says and answers
// what comes later with its body. It counts the requests.
func newRefusingServer(t testing.TB, r refusing) (address string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	config := proxytest.ServerTLS()
	config.NextProtos = []string{"h2"}
	proxytest.RefuseHTTP1(config)
	return proxytest.NewRawServer(t, func(c net.Conn) {
		secured := tls.Server(c, config)
		if secured.Handshake() != nil {
			return
		}
		if _, err := io.ReadFull(secured, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		framer := http2.NewFramer(secured, secured)
		framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		_ = framer.WriteSettings()
		_ = framer.WriteWindowUpdate(0, 1<<24) // room for each try
		bodies := make(map[uint32]*bytes.Buffer)
		refuse := func(stream uint32) (gone bool) {
			if requests.Add(1) > int64(r.first) {
				return false
			}
			if r.goAway {
				_ = framer.WriteGoAway(r.last, r.code, nil)
				if r.last == 0 { // the client hangs up, and a reset might outrun the frame
					_, _ = io.Copy(io.Discard, secured)
				}
				return true
			}
			_ = framer.WriteRSTStream(stream, r.code)
			delete(bodies, stream)
			return false
		}
		answer := func(stream uint32) {
			body := bodies[stream]
			if body == nil {
				return
			}
			var b bytes.Buffer
			_ = hpack.NewEncoder(&b).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: b.Bytes(), EndHeaders: true})
			_ = framer.WriteData(stream, true, body.Bytes())
		}
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			ended := false
			switch frame := frame.(type) {
			case *http2.SettingsFrame:
				if !frame.IsAck() {
					_ = framer.WriteSettingsAck()
				}
				continue
			case *http2.MetaHeadersFrame:
				bodies[frame.StreamID] = new(bytes.Buffer)
				if r.early && refuse(frame.StreamID) {
					return
				}
				ended = frame.StreamEnded()
			case *http2.DataFrame:
				if body := bodies[frame.StreamID]; body != nil {
					body.Write(frame.Data())
				}
				ended = frame.StreamEnded()
			default:
				continue
			}
			stream := frame.Header().StreamID
			if !ended || bodies[stream] == nil {
				continue
			}
			if !r.early && refuse(stream) {
				return
			}
			answer(stream)
		}
	}), requests
}

// TestRefusedUnprocessed sends a request again that the server has not processed,
// with all of its body.
func TestRefusedUnprocessed(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]refusing{
		"refused":             {first: 1, code: http2.ErrCodeRefusedStream},
		"refused early":       {first: 1, code: http2.ErrCodeRefusedStream, early: true},
		"refused twice":       {first: 2, code: http2.ErrCodeRefusedStream},
		"connection ends":     {first: 1, goAway: true},
		"ends early":          {first: 1, goAway: true, early: true},
		"ends more than once": {first: 3, goAway: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, method := range []string{http.MethodGet, http.MethodPost} {
				t.Run(method, func(t *testing.T) {
					t.Parallel()
					proxytest.EachProto(t, func(t *testing.T, client string) {
						address, requests := newRefusingServer(t, r)
						p := startProxy(t, address)
						body, want := io.Reader(nil), ""
						if method == http.MethodPost {
							want = strings.Repeat("all of it ", 1000)
							body = io.MultiReader(strings.NewReader(want[:10]), strings.NewReader(want[10:]))
						}
						res := proxytest.Do(t, p.client(t, client), proxytest.NewRequest(t, method, proxytest.Origin+"/", body))
						if got := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusOK || got != want {
							t.Errorf("%s, %d bytes: %.200s", res.Status, len(got), got)
						}
						if n := requests.Load(); n != int64(r.first)+1 {
							t.Errorf("the server saw %d requests", n)
						}
					})
				})
			}
		})
	}
}

// TestRefusedProcessed does not repeat what the server may have processed.
func TestRefusedProcessed(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]refusing{
		"reset":           {first: 1, code: http2.ErrCodeInternal},
		"connection ends": {first: 1, goAway: true, last: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, requests := newRefusingServer(t, r)
			p := startProxy(t, address)
			res := proxytest.Do(t, p.client(t, proxytest.H2), proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", strings.NewReader("body")))
			if res.StatusCode != http.StatusBadGateway || requests.Load() != 1 {
				t.Errorf("%s after %d requests", res.Status, requests.Load())
			}
		})
	}
}

// TestServerBusy says when to come back, where a server has not processed a
// request and it cannot be sent again.
func TestServerBusy(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		refusing
		limit int64
	}{
		"calm":                   {refusing{first: 9, code: http2.ErrCodeEnhanceYourCalm}, 0},
		"calm, connection ends":  {refusing{first: 9, code: http2.ErrCodeEnhanceYourCalm, goAway: true}, 0},
		"calm, it may have been": {refusing{first: 9, code: http2.ErrCodeEnhanceYourCalm, goAway: true, last: 1}, 0},
		"body is not held":       {refusing{first: 9, code: http2.ErrCodeRefusedStream}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, requests := newRefusingServer(t, test.refusing)
			p := startProxy(t, address, func(c *Config) { c.RetryBodyLimit = test.limit })
			res := proxytest.Do(t, p.client(t, proxytest.H2), proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", strings.NewReader("body")))
			proxytest.WantRefusal(t, res, http.StatusServiceUnavailable, "upstream_busy", "destination_unavailable")
			if res.Header.Get("Retry-After") == "" || requests.Load() != 1 {
				t.Errorf("Retry-After %q, %d requests", res.Header.Get("Retry-After"), requests.Load())
			}
		})
	}
}
