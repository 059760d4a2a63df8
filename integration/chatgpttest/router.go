package chatgpttest

import "strings"

// An endpoint is a method and path, and what answers there. A * in the path
// stands for one segment.
type endpoint struct {
	method string // empty: any
	path   string // of the backend's without backendPrefix
	auth   authRule
	handle handler
}

// A route is an endpoint of a service.
type route struct {
	endpoint
	service    service
	generation Generation // whose agents and tasks are registered here, if any
}

// A router finds the route of a request. It does not change once it is made.
type router struct {
	exact    map[string][]route // by path
	patterns []route            // those with a *
}

func newRouter(routes []route) *router {
	rt := &router{exact: make(map[string][]route)}
	for _, r := range routes {
		if strings.Contains(r.path, "*") {
			rt.patterns = append(rt.patterns, r)
		} else {
			rt.exact[r.path] = append(rt.exact[r.path], r)
		}
	}
	return rt
}

// find returns the route for a service, method and path, and what its * stands
// for. The route has no handler if there is none; allow then lists the methods
// that are served at the path. Paths are matched as they stand in the request
// line: an endpoint with a double slash is one that clients ask for so.
func (rt *router) find(sv service, method, path string) (found route, param string, allow []string) {
	none := route{endpoint: endpoint{auth: authPublic}}
	if rest, ok := strings.CutPrefix(path, backendPrefix); ok && strings.HasPrefix(rest, "/") && sv&serviceBackend != 0 {
		none.auth = authRequired
		path = rest
	}
	// fits reports whether r is the route.
	fits := func(r route) bool {
		if r.service&sv == 0 {
			return false
		}
		if r.method == "" || r.method == method || r.method == "GET" && method == "HEAD" {
			return true
		}
		allow = append(allow, r.method)
		return false
	}
	for _, r := range rt.exact[path] {
		if fits(r) {
			return r, "", nil
		}
	}
	for _, r := range rt.patterns {
		if p, ok := matchRoute(r.path, path); ok && fits(r) {
			return r, p, nil
		}
	}
	return none, "", allow
}

// matchRoute reports whether path is of the form of pattern, and what its * stands
// for.
func matchRoute(pattern, path string) (param string, ok bool) {
	before, after, _ := strings.Cut(pattern, "*")
	if path, ok = strings.CutPrefix(path, before); !ok {
		return "", false
	}
	if param, ok = strings.CutSuffix(path, after); !ok {
		return "", false
	}
	return param, param != "" && !strings.Contains(param, "/")
}
