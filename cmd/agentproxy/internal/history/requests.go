// Package history keeps what a proxy did lately, in memory and within bounds: its latest
// requests, and how many there were in each span of the last minutes.
package history

import (
	"sync"
	"time"
	"unicode/utf8"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
)

// maxRequests bounds the requests that are kept.
const maxRequests = 100

// The bounds of the words of a request that are kept, in bytes. The paths of Codex have
// less than a hundred.
const (
	maxMethod = 32
	maxHost   = 128
	maxPath   = 256
	maxClient = 128
	maxNote   = 128
)

// Request is a request, a WebSocket or a tunnel that has ended. Its words are cut, and hold
// nothing that is not printable. It holds no query, no header field and no body.
type Request struct {
	Ended   time.Time     `json:"ended"`
	Kind    string        `json:"kind"` // as the log names it
	Method  string        `json:"method,omitempty"`
	Host    string        `json:"host,omitempty"` // host:port
	Path    string        `json:"path,omitempty"`
	Status  int           `json:"status"` // 0 if there was no response
	Seconds float64       `json:"seconds"`
	Scheme  signer.Scheme `json:"credential,omitempty"`
	Client  string        `json:"client,omitempty"`
	Refused string        `json:"refused,omitempty"` // the code of a refusal
	Failure string        `json:"failure,omitempty"` // why it was cut
	CutBy   string        `json:"cut_by,omitempty"`  // client, server or proxy
}

// Duration returns how long the request took.
func (r Request) Duration() time.Duration { return time.Duration(r.Seconds * float64(time.Second)) }

// Failed reports whether the client did not get what it had asked for: the proxy refused
// or cut it, or the server failed.
func (r Request) Failed() bool { return failed(r.Refused, r.Failure, r.Status) }

func failed(refused, failure string, status int) bool {
	return refused != "" || failure != "" || status >= 500
}

// Requests keeps the latest requests of a proxy. It takes no more memory than maxRequests
// of the longest, and allocates none for most. The zero value is ready to use. It is safe
// for concurrent use.
type Requests struct {
	mu   sync.Mutex
	ring [maxRequests]entry
	next int // the place of the next one
}

// entry is a request as it is kept: its words in one buffer, which the next one in its
// place uses again.
type entry struct {
	ended                               time.Time
	took                                time.Duration
	kind, refused, cutBy                string // the program's words
	scheme                              signer.Scheme
	status                              int
	words                               []byte
	method, host, path, client, failure int // their ends in words
}

// Add keeps an outcome, in place of the oldest one. It keeps nothing that the log would not
// have at level info.
func (r *Requests) Add(o *proxy.Outcome) {
	if !o.Logged {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := &r.ring[r.next]
	r.next = (r.next + 1) % maxRequests
	e.ended, e.took, e.kind, e.refused, e.cutBy, e.scheme, e.status = o.Time.Add(o.Duration), o.Duration, o.Kind, o.Refused, o.CutBy, o.Scheme, o.Status
	e.words = e.words[:0]
	for _, word := range []struct {
		end  *int
		text string
		most int
	}{
		{&e.method, o.Method, maxMethod},
		{&e.host, o.Host, maxHost},
		{&e.path, o.Path, maxPath},
		{&e.client, o.Client, maxClient},
		{&e.failure, o.Failure, maxNote},
	} {
		e.words = AppendCut(e.words, word.text, word.most)
		*word.end = len(e.words)
	}
}

// AppendCut appends s to dst, or as much of it as most bytes hold and an ellipsis.
func AppendCut(dst []byte, s string, most int) []byte {
	if len(s) <= most {
		return append(dst, s...)
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return append(append(dst, s[:most]...), "…"...)
}

// Latest returns the requests, the latest first.
func (r *Requests) Latest() []Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Request, 0, maxRequests)
	for i := range maxRequests {
		e := &r.ring[(r.next+maxRequests-1-i)%maxRequests]
		if e.ended.IsZero() {
			break
		}
		word := func(from, to int) string { return cli.Printable(string(e.words[from:to])) }
		list = append(list, Request{
			Ended: e.ended, Seconds: e.took.Seconds(), Kind: e.kind, Refused: e.refused, CutBy: e.cutBy, Scheme: e.scheme, Status: e.status,
			Method: word(0, e.method), Host: word(e.method, e.host), Path: word(e.host, e.path),
			Client: word(e.path, e.client), Failure: word(e.client, e.failure),
		})
	}
	return list
}
