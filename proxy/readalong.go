package proxy

import (
	"net/http"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/proxy/usage"
	"github.com/agentproxy/agentproxy/signer"
)

// tap is given copies of the bytes of a response that are on their way to the client.
type tap interface {
	Tap(p []byte)
	Close()
}

var (
	_ tap = (*usage.SSE)(nil)
	_ tap = (*usage.Gzip)(nil)
	_ tap = (*usage.WebSocket)(nil)
)

// readAlong passes on what a response's header says of the account's limits, and has
// the response read along where its usage is asked for. A response to a request
// without our credential says nothing of the account.
func (x *exchange) readAlong(res *http.Response) {
	if x.auth == nil || x.auth.Value == "" {
		return
	}
	if observe := x.policy.ObserveQuota; observe != nil {
		if q, ok := usage.ParseQuota(res.Header); ok {
			observe(x.profile.Name, res.StatusCode, q)
		}
	}
	observe := x.policy.ObserveUsage
	if observe == nil || x.credential != signer.KindInference || len(res.Header["Content-Encoding"]) > 1 {
		return
	}
	encoding := strings.ToLower(res.Header.Get("Content-Encoding"))
	report := func(used usage.Tokens) {
		observe(usage.Entry{Time: time.Now(), Client: x.label, Profile: x.profile.Name, Tokens: used})
	}
	switch {
	case res.StatusCode == http.StatusOK && encoding == "":
		x.tap = usage.NewSSE(report, x.Panicked)
	case res.StatusCode == http.StatusOK && (encoding == "gzip" || encoding == "x-gzip"): // the same (RFC 9110, section 8.4.1.3)
		x.tap = usage.NewGzip(report, x.Panicked)
	case res.StatusCode == http.StatusSwitchingProtocols && encoding == "":
		x.tap = usage.NewWebSocket(res.Header["Sec-Websocket-Extensions"], report, x.Panicked)
	}
}
