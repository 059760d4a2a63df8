package proxy

import (
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// checkMethod refuses methods that nothing is signed for: TRACE and TRACK, which
// send the credential back; CONNECT, which makes a tunnel of its own; and what RFC
// 9110 and RFC 5789 do not know, which servers take for whatever they like.
func checkMethod(method string) *refuse.Refusal {
	if signer.KnownMethod(method) {
		return nil
	}
	methods := strings.Join(signer.Methods(), ", ")
	refused := refuse.New(http.StatusMethodNotAllowed, "method_not_allowed", "http_request_denied",
		"requests with the method %s are not signed; use %s", quotePath(method), methods)
	refused.Allow = methods
	return refused
}

// checkPlainMethod refuses, for a request that is sent on without being signed,
// methods that only serve to see what a proxy puts on it.
func checkPlainMethod(method string) *refuse.Refusal {
	switch method {
	case http.MethodTrace, "TRACK":
		return checkMethod(method)
	}
	return nil
}
