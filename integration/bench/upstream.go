//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// The paths of the server.
const (
	pathJSON          = "/backend-api/codex/bench/json"
	pathDownload      = "/backend-api/codex/bench/download"
	pathUpload        = "/backend-api/codex/bench/upload"
	pathEvents        = "/backend-api/codex/bench/events"
	pathSocket        = "/backend-api/codex/responses"
	pathAuthorization = "/backend-api/codex/bench/authorization"
)

// origin is the server that all requests are for. It speaks HTTP/1.1 and
// HTTP/2 over TLS, and does as little as it can.
type origin struct {
	address string // of the TLS server
	port    string
	source  string // the address that sends bytes without end, for tunnels

	server    *http.Server
	listeners []net.Listener
	done      context.CancelFunc
	running   sync.WaitGroup
}

// answerJSON is a short answer such as an API gives.
var answerJSON = []byte(`{"id":"bench","object":"response","status":"completed","model":"none","usage":{"input_tokens":17,` +
	`"output_tokens":42,"total_tokens":59},"output":[{"type":"message","role":"assistant","text":"Hello."}]}`)

// zeros are the bytes of downloads, uploads and tunnels.
var zeros = make([]byte, 1<<20)

func startUpstream(ca *authority) (*origin, error) {
	u := &origin{}
	ctx, cancel := context.WithCancel(context.Background())
	u.done = cancel
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathJSON, serveJSON)
	mux.HandleFunc("GET "+pathAuthorization, serveAuthorization)
	mux.HandleFunc("GET "+pathDownload, serveDownload)
	mux.HandleFunc("POST "+pathUpload, serveUpload)
	mux.HandleFunc("GET "+pathEvents, serveEvents)
	mux.HandleFunc("GET "+pathSocket, serveSocket)
	u.server = &http.Server{
		Handler:     mux,
		TLSConfig:   &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.server}},
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0),

		ReadHeaderTimeout: time.Minute,
	}
	web, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	source, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		web.Close()
		return nil, err
	}
	u.listeners = []net.Listener{web, source}
	u.address, u.source = web.Addr().String(), source.Addr().String()
	_, u.port, _ = net.SplitHostPort(u.address)
	u.running.Go(func() { _ = u.server.ServeTLS(web, "", "") })
	u.running.Go(func() { pour(ctx, source) })
	return u, nil
}

func (u *origin) close() {
	u.done()
	for _, l := range u.listeners {
		l.Close()
	}
	u.server.Close()
	u.running.Wait()
}

func serveJSON(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(answerJSON))}
	_, _ = w.Write(answerJSON)
}

// serveAuthorization tells who the server takes the client for.
func serveAuthorization(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, r.Header.Get("Authorization"))
}

func serveDownload(w http.ResponseWriter, r *http.Request) {
	size, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	for size > 0 {
		n, err := w.Write(zeros[:min(size, int64(len(zeros)))])
		if err != nil {
			return
		}
		size -= int64(n)
	}
}

func serveUpload(w http.ResponseWriter, r *http.Request) {
	buffer := make([]byte, 64<<10)
	for {
		if _, err := r.Body.Read(buffer); err != nil {
			if !errors.Is(err, io.EOF) {
				return
			}
			break
		}
	}
	serveJSON(w, r)
}

// epoch is what the time stamps of events count from.
var epoch = time.Now()

// serveEvents sends events that carry the time when they are sent, as long as
// r's query says. The first comes at once. The second comes after a part of the
// gap, so that streams which began together do not go on in step.
func serveEvents(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	events, err := strconv.Atoi(query.Get("events"))
	gap, gapErr := time.ParseDuration(query.Get("gap"))
	if err := errors.Join(err, gapErr); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	timer := time.NewTimer(0)
	defer timer.Stop()
	next := time.Now()
	for i := range events {
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
		if _, err := fmt.Fprintf(w, "event: response.output_text.delta\ndata: {\"sent\":%d,\"delta\":\" word\",\"item_id\":\"msg_0123456789\",\"output_index\":0}\n\n", time.Since(epoch)); err != nil {
			return
		}
		if flusher.Flush() != nil {
			return
		}
		next = next.Add(gap)
		if i == 0 {
			next = time.Now().Add(rand.N(gap))
		}
		timer.Reset(time.Until(next))
	}
}

// serveSocket sends back what it receives.
func serveSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}

// pour sends bytes to whoever connects to l and says something, for as long as
// they are taken.
func pour(ctx context.Context, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			stop := context.AfterFunc(ctx, func() { conn.Close() })
			defer stop()
			defer conn.Close()
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				return
			}
			for {
				if _, err := conn.Write(zeros[:256<<10]); err != nil {
					return
				}
			}
		}()
	}
}
