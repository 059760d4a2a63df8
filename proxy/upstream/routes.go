package upstream

import (
	"net"
	"slices"

	"github.com/agentproxy/agentproxy/proxy/hosts"
)

// routes is [Config.ConnectTo] with its patterns parsed.
type routes struct {
	exact    map[string]string
	patterns []route // the longest first: "*.a.example" before "*.example"
}

type route struct {
	from hosts.Pattern
	to   string
}

// newRoutes returns the routes of connectTo, without those that
// [Config.CheckConnectTo] refuses.
func newRoutes(connectTo map[string]string) routes {
	r := routes{exact: connectTo}
	for from, to := range connectTo {
		if pattern, err := hosts.ParsePattern(from); err == nil {
			r.patterns = append(r.patterns, route{pattern, to})
		}
	}
	slices.SortFunc(r.patterns, func(a, b route) int { return len(b.from.String()) - len(a.from.String()) })
	return r
}

// find returns the address that is dialled in place of address (host:port).
func (r routes) find(address string) (to string, ok bool) {
	if to, ok := r.exact[address]; ok || len(r.patterns) == 0 {
		return to, ok
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", false
	}
	for _, route := range r.patterns {
		if route.from.Match(host, port) {
			return route.to, true
		}
	}
	return "", false
}
