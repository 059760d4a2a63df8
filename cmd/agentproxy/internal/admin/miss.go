package admin

import (
	"net"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
)

// maxMisses bounds the requests out of scope that are remembered.
const maxMisses = 100

// miss is a kind of requests that were out of scope.
type miss struct {
	Last   time.Time     `json:"last"`
	Count  int           `json:"count"` // since the first that is remembered
	Host   string        `json:"host"`
	Method string        `json:"method"`
	Path   string        `json:"path"` // with * in place of IDs
	Reason signer.Reason `json:"reason"`
	Client string        `json:"client,omitempty"` // the last one
	// Sent is whether they were sent with a warning.
	Sent bool `json:"sent"`
	// Allow is the entry of scope.allow that would allow them, "" if none would.
	Allow string `json:"allow,omitempty"`
}

func (m miss) like(other miss) bool {
	return other.Host == m.Host && other.Method == m.Method && other.Path == m.Path && other.Sent == m.Sent
}

func (m miss) after(former miss) miss {
	m.Count += former.Count
	return m
}

func missOf(o proxy.Outcome) miss {
	out := o.OutOfScope
	m := miss{
		Last: o.Time, Count: 1, Host: shorten(out.Host), Method: shorten(out.Method), Path: out.Path,
		Reason: out.Reason, Client: shorten(o.Client), Sent: out.Sent, Allow: out.Allow,
	}
	if len(m.Path) > maxShown {
		m.Path, m.Allow = shorten(m.Path), ""
		return m
	}
	if path := withoutIDs(m.Path); m.Allow != "" && m.Allow != signer.WordAll && path != m.Path {
		host, port, _ := net.SplitHostPort(out.Host)
		if port != "443" {
			host = out.Host
		}
		m.Path = path
		m.Allow = signer.ScopeEntry{Match: signer.Match{Host: host, Methods: []string{out.Method}, Path: path}, Upgrade: strings.ToLower(out.Upgrade)}.String()
	}
	return m
}

// withoutIDs replaces segments that look like IDs, which differ between requests, by "*".
func withoutIDs(path string) string {
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		digits := 0
		for _, c := range []byte(segment) {
			if '0' <= c && c <= '9' {
				digits++
			}
		}
		if len(segment) >= 8 && digits >= 3 {
			segments[i] = "*"
		}
	}
	return strings.Join(segments, "/")
}
