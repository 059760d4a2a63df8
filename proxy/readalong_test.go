package proxy

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
	"github.com/agentproxy/agentproxy/proxy/usage"
	"github.com/agentproxy/agentproxy/signer"
)

// observed collects what a proxy observes of answers.
type observed struct {
	mu     sync.Mutex
	usage  []usage.Entry
	quotas []string
}

func (o *observed) config(c *Config) {
	c.ObserveUsage = func(e usage.Entry) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.usage = append(o.usage, e)
	}
	c.ObserveQuota = func(profile string, status int, q usage.Quota) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.quotas = append(o.quotas, fmt.Sprintf("%s %d %g", profile, status, q.Primary.UsedPercent))
	}
}

func (o *observed) wait(t *testing.T, entries int, quotas ...string) {
	t.Helper()
	proxytest.Eventually(t, func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.usage) != entries || !slices.Equal(o.quotas, quotas) {
			return fmt.Errorf("%d entries, want %d; quotas %q, want %q", len(o.usage), entries, o.quotas, quotas)
		}
		return nil
	})
}

const usedEvent = `{"type":"response.completed","response":{"model":"m","usage":{"input_tokens":3,"input_tokens_details":{"cached_tokens":1},"output_tokens":2}}}`

// gzipWriter is a ResponseWriter that compresses.
type gzipWriter struct {
	http.ResponseWriter
	z *gzip.Writer
}

// Write implements [io.Writer].
func (w gzipWriter) Write(p []byte) (int, error) { return w.z.Write(p) }

// TestReadAlong tells what responses say they used: of inference that was signed here,
// over every protocol, without a Content-Type.
func TestReadAlong(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"] = nil
			w.Header().Set("X-Codex-Primary-Used-Percent", "12.5")
			switch r.URL.Query().Get("as") {
			case "socket":
				conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
				if err != nil {
					return
				}
				for range 3 {
					_ = conn.Write(r.Context(), websocket.MessageText, []byte(usedEvent))
				}
				conn.Close(websocket.StatusNormalClosure, "")
				return
			case "gzip":
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				defer z.Close()
				w = gzipWriter{w, z}
			case "br":
				w.Header().Set("Content-Encoding", "br")
			case "failed":
				w.WriteHeader(http.StatusTooManyRequests)
			}
			fmt.Fprintf(w, "data: %s\n\n", usedEvent)
		})
		o := new(observed)
		p := startProxy(t, backend.Listener.Addr().String(), o.config, func(c *Config) {
			c.Profiles = []Profile{{Name: "builds", Labels: labels(t, "b"), Signer: c.Signer, ConnectionsPerLabel: 100}}
		})
		ask := func(label, path string) {
			t.Helper()
			res := proxytest.Do(t, p.clientAs(t, client, url.UserPassword(label, "x")), proxytest.NewRequest(t, "POST", proxytest.Origin+path, nil))
			proxytest.ReadAll(t, res.Body)
		}
		const responses = "/backend-api/codex/responses"
		ask("a", responses)
		o.wait(t, 1, " 200 12.5")
		ask("b", responses)
		o.wait(t, 2, " 200 12.5", "builds 200 12.5")
		if got, want := o.usage[1].Tokens, (usage.Tokens{Model: "m", Input: 3, Cached: 1, Output: 2}); got != want || o.usage[1].Client != "b" || o.usage[1].Profile != "builds" || o.usage[0].Profile != "" {
			t.Errorf("%+v", o.usage)
		}
		o.quotas = nil
		ask("a", responses+"?as=gzip")
		o.wait(t, 3, " 200 12.5")
		if got, want := o.usage[2].Tokens, o.usage[1].Tokens; got != want {
			t.Errorf("compressed: %+v, want %+v", got, want)
		}
		o.quotas = nil
		ask("a", responses+"?as=br")                        // what is encoded otherwise is not read
		ask("a", responses+"?as=failed")                    // nor is a refusal
		ask("a", "/backend-api/codex/models")               // nor what is no inference
		o.wait(t, 3, " 200 12.5", " 429 12.5", " 200 12.5") // but its header is
		if client != proxytest.H1 {
			return
		}
		conn, _, err := websocket.Dial(t.Context(), "wss://"+proxytest.Host+responses+"?as=socket", &websocket.DialOptions{
			HTTPClient: &http.Client{Transport: p.client(t, proxytest.H1).Transport}, CompressionMode: websocket.CompressionContextTakeover,
		})
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, _, err = conn.Read(t.Context())
		}
		o.wait(t, 6, " 200 12.5", " 429 12.5", " 200 12.5", " 101 12.5")
	})
}

// TestReadAlongDelaysNothing: an event is there before the next is sent, with usage on.
func TestReadAlongDelaysNothing(t *testing.T) {
	t.Parallel()
	heard := make(chan struct{})
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		for range 10 {
			fmt.Fprintf(w, "data: %s\n\n", usedEvent)
			_ = http.NewResponseController(w).Flush()
			<-heard
		}
	})
	o := new(observed)
	p := startProxy(t, backend.Listener.Addr().String(), o.config)
	res := proxytest.Do(t, p.client(t, proxytest.H1), proxytest.NewRequest(t, "POST", proxytest.Origin+"/backend-api/codex/responses", nil))
	event := make([]byte, len("data: \n\n")+len(usedEvent))
	for range 10 {
		if _, err := io.ReadFull(res.Body, event); err != nil {
			t.Fatal(err)
		}
		heard <- struct{}{}
	}
	o.wait(t, 10)
}

// TestQuotaOfOthers: a response to the client's own credential says nothing of our quota.
func TestQuotaOfOthers(t *testing.T) {
	t.Parallel()
	backend := proxytest.NewBackend(t, proxytest.H1, func(w http.ResponseWriter, r *http.Request) {
		used := "12.5"
		if r.Header.Get("Authorization") == "Bearer own" {
			used = "100"
		}
		w.Header().Set("X-Codex-Primary-Used-Percent", used)
	})
	o := new(observed)
	p := startProxy(t, backend.Listener.Addr().String(), o.config, func(c *Config) {
		c.Signer = proxytest.SignerFunc(func(r signer.Request) (*signer.Authorization, error) {
			if r.Path == "/own" {
				return &signer.Authorization{Scheme: signer.SchemeNone, PassThrough: true}, nil
			}
			return proxytest.Bearer(), nil
		})
	})
	client := p.client(t, proxytest.H1)
	for _, path := range []string{"/own", "/ours"} {
		r := proxytest.NewRequest(t, http.MethodGet, proxytest.Origin+path, nil)
		r.Header.Set("Authorization", "Bearer own")
		if res := proxytest.Do(t, client, r); (res.Header.Get("X-Codex-Primary-Used-Percent") == "100") != (path == "/own") {
			t.Errorf("%s: %v", path, res.Header)
		}
	}
	o.wait(t, 0, " 200 12.5")
}
