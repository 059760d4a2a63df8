package proxy

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/proxy/internal/proxytest"
)

const chunks = 5

// TestStream has the server send a chunk only when the client has confirmed the
// one before it, so that anything held back ends in a deadlock, not in a delay.
func TestStream(t *testing.T) {
	t.Parallel()
	for _, kind := range []struct {
		name, contentType, chunk string
		length                   bool
	}{
		{"server-sent events", "text/event-stream", "data: {}\n\n", false},
		{"NDJSON", "application/x-ndjson", "{}\n", false},
		{"chunks", "application/octet-stream", "x", false},
		{"no type", "", "y", false},
		{"known length", "application/octet-stream", "zz", true},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			proxytest.EachWay(t, func(t *testing.T, client, server string) {
				confirmed := make(chan struct{})
				backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
					if kind.contentType != "" {
						w.Header().Set("Content-Type", kind.contentType)
					} else {
						w.Header()["Content-Type"] = nil
					}
					if kind.length {
						w.Header().Set("Content-Length", strconv.Itoa(chunks*len(kind.chunk)))
					}
					rc := http.NewResponseController(w)
					_ = rc.Flush() // the header alone must get through
					for range chunks {
						select {
						case <-confirmed:
						case <-r.Context().Done():
							return
						}
						_, _ = io.WriteString(w, kind.chunk)
						_ = rc.Flush()
					}
				})
				p := startProxy(t, backend.Listener.Addr().String())
				res := proxytest.Get(t, p.client(t, client), proxytest.Origin+"/")
				if got := res.Header.Get("Content-Type"); got != kind.contentType {
					t.Errorf("Content-Type: %q, want %q", got, kind.contentType)
				}
				if want := int64(chunks * len(kind.chunk)); kind.length && res.ContentLength != want {
					t.Errorf("length %d, want %d", res.ContentLength, want)
				}
				got := make([]byte, len(kind.chunk))
				for i := range chunks {
					confirmed <- struct{}{}
					if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != kind.chunk {
						t.Fatalf("chunk %d: %q, %v", i, got, err)
					}
				}
				if rest := proxytest.ReadAll(t, res.Body); rest != "" {
					t.Errorf("%q at the end", rest)
				}
			})
		})
	}
}

// TestUpload has the client send a chunk only when the server has confirmed the
// one before it.
func TestUpload(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		arrived := make(chan string)
		backend := proxytest.NewBackend(t, server, func(_ http.ResponseWriter, r *http.Request) {
			lines := bufio.NewScanner(r.Body)
			for lines.Scan() {
				arrived <- lines.Text()
			}
		})
		p := startProxy(t, backend.Listener.Addr().String())
		body, w := io.Pipe()
		go func() {
			defer w.Close()
			for i := range chunks {
				chunk := strings.Repeat("u", i+1)
				_, _ = io.WriteString(w, chunk+"\n")
				if got := <-arrived; got != chunk {
					t.Errorf("chunk %d: %q", i, got)
				}
			}
		}()
		if res := proxytest.Do(t, p.client(t, client), proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", body)); res.StatusCode != http.StatusOK {
			t.Error(res.Status)
		}
	})
}

// TestBothWays echoes a conversation in which each side speaks in its turn
// within one request.
func TestBothWays(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			_ = rc.EnableFullDuplex()
			_ = rc.Flush()
			lines := bufio.NewScanner(r.Body)
			for lines.Scan() {
				_, _ = io.WriteString(w, "echo "+lines.Text()+"\n")
				_ = rc.Flush()
			}
		})
		p := startProxy(t, backend.Listener.Addr().String())
		body, w := io.Pipe()
		res := proxytest.Do(t, p.client(t, client), proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", body))
		answers := bufio.NewReader(res.Body)
		for i := range chunks {
			_, _ = io.WriteString(w, strconv.Itoa(i)+"\n")
			if got, err := answers.ReadString('\n'); err != nil || got != "echo "+strconv.Itoa(i)+"\n" {
				t.Fatalf("answer %d: %q, %v", i, got, err)
			}
		}
		w.Close()
		if rest := proxytest.ReadAll(t, answers); rest != "" {
			t.Errorf("%q at the end", rest)
		}
	})
}

// TestEarlyAnswer is a server that answers, to the end, before the client has
// sent all of its body. A client that waits for this answer must get it.
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	proxytest.EachWay(t, func(t *testing.T, client, server string) {
		backend := proxytest.NewBackend(t, server, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			_, _ = io.ReadFull(r.Body, make([]byte, 5))
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = io.WriteString(w, "too much")
		})
		p := startProxy(t, backend.Listener.Addr().String())
		body, w := io.Pipe()
		defer w.Close()
		go func() { _, _ = io.WriteString(w, "begin") }()
		res := proxytest.Do(t, p.client(t, client), proxytest.NewRequest(t, http.MethodPost, proxytest.Origin+"/", body))
		if got := proxytest.ReadAll(t, res.Body); res.StatusCode != http.StatusRequestEntityTooLarge || got != "too much" {
			t.Errorf("%s, %q", res.Status, got)
		}
	})
}
