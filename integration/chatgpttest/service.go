package chatgpttest

import (
	"net"
	"strings"
)

// A service is a set of hosts that answer the same requests.
type service uint8

const (
	serviceBackend   service = 1 << iota // chatgpt.com and the hosts below it
	serviceAuth                          // auth.openai.com
	serviceTelemetry                     // ab.chatgpt.com

	// serviceAll is every host's that is none of ChatGPT's, such as 127.0.0.1.
	serviceAll = serviceBackend | serviceAuth | serviceTelemetry
)

// defaultHosts are the names in the server's certificate, unless [Config] names
// others.
func defaultHosts() []string {
	return []string{
		"chatgpt.com", "*.chatgpt.com", "chat.openai.com", "chatgpt-staging.com", "*.chatgpt-staging.com",
		"auth.openai.com", "auth.api.openai.org", "localhost", "127.0.0.1",
	}
}

// serviceOf returns the service of a Host header.
func serviceOf(host string) service {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	switch host = strings.ToLower(host); {
	case host == "ab.chatgpt.com":
		return serviceTelemetry
	case host == "auth.openai.com", host == "auth.api.openai.org":
		return serviceAuth
	case host == "chatgpt.com", strings.HasSuffix(host, ".chatgpt.com"),
		host == "chatgpt-staging.com", strings.HasSuffix(host, ".chatgpt-staging.com"),
		host == "chat.openai.com":
		return serviceBackend
	}
	return serviceAll
}
