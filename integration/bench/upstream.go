//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
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
	pathSide          = "/backend-api/codex/bench/download?bytes=1000"
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
	mux.HandleFunc(pathEvents, serveEvents)
	mux.HandleFunc("GET "+pathSocket, serveSocket)
	mux.HandleFunc("POST "+pathSocket, serveAnswer)
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

// serveSocket sends back what it receives, or answers a question.
func serveSocket(w http.ResponseWriter, r *http.Request) {
	switch r.URL.RawQuery {
	case "":
	case answersQuery:
		serveAnswers(w, r)
		return
	default:
		serveTurn(w, r)
		return
	}
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
