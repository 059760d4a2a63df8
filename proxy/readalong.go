package proxy

import (
	"net/http"
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
	if observe == nil || x.credential != signer.KindInference || res.Header["Content-Encoding"] != nil {
		return
	}
	report := func(used usage.Tokens) {
		observe(usage.Entry{Time: time.Now(), Client: x.label, Profile: x.profile.Name, Tokens: used})
	}
	switch res.StatusCode {
	case http.StatusOK:
		x.tap = usage.NewSSE(report, x.Panicked)
	case http.StatusSwitchingProtocols:
		x.tap = usage.NewWebSocket(res.Header["Sec-Websocket-Extensions"], report, x.Panicked)
	}
}
