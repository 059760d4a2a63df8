package logline

import (
	"fmt"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
)

// Target returns what a request of a kind asks for: host and path, without the port that
// goes without saying.
func Target(kind, host, path string) string {
	if kind == proxy.KindPlain {
		if host == "" {
			return path
		}
		return "http://" + strings.TrimSuffix(host, ":80") + path
	}
	return strings.TrimSuffix(host, ":443") + path
}

// Credential returns the word for a kind of credential, "" for that of no request.
func Credential(scheme signer.Scheme) string {
	if scheme == signer.SchemeAssertion {
		return "assertion"
	}
	return strings.ToLower(string(scheme))
}

// Duration returns d in one unit, with two digits at least if they are known: "8 ms",
// "1.2 s", "3 min".
func Duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d, 0)/time.Millisecond)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d h", d/time.Hour)
}
