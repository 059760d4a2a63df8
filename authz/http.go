package authz

import (
	"context"
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/proxy"
)

// dialect is how a kind of gateway asks over HTTP. The first segment of the
// path names the dialect, and the second the server that the request will go
// to: a gateway's configuration says both, and no client can.
type dialect struct {
	// method and uri are the headers that tell of the request. "" for a gateway
	// that asks with the request's own method, and its path behind the second
	// segment.
	method, uri string
	// forbids has a refusal be 403, whatever it is for. nginx makes an error of
	// its own of other codes, and Envoy may be configured to pass a request on
	// when it is answered with 5xx.
	forbids bool
	// body names the header that the refusal's body is in besides, for those who
	// do not pass the body on.
	body string
	// remove names the header that lists the headers which the request must not
	// have. Others remove those that they are to copy and do not find.
	remove string
}

// dialectOf returns the dialect with a name.
func dialectOf(name string) (dialect, bool) {
	switch name {
	case "auth-request": // nginx
		return dialect{method: "X-Original-Method", uri: "X-Original-Uri", forbids: true, body: "X-Agentproxy-Refusal"}, true
	case "forward-auth": // Traefik, Caddy
		return dialect{method: "X-Forwarded-Method", uri: "X-Forwarded-Uri"}, true
	case "ext-authz": // Envoy
		return dialect{forbids: true, remove: "X-Envoy-Auth-Headers-To-Remove"}, true
	}
	return dialect{}, false
}

// serve answers a gateway over HTTP.
func (c Config) serve(w http.ResponseWriter, r *http.Request) {
	path, ok := strings.CutPrefix(r.RequestURI, "/")
	name, path, _ := strings.Cut(path, "/")
	d, known := dialectOf(name)
	if !ok || !known {
		write(w, proxy.Refusal(http.StatusNotFound, "authz_path",
			"a gateway asks for /auth-request/HOST (nginx), /forward-auth/HOST (Traefik, Caddy) or /ext-authz/HOST (Envoy)"))
		return
	}
	if d.uri != "" {
		path, _, _ = strings.Cut(path, "?") // Caddy puts its client's query there
	}
	host, path, more := strings.Cut(path, "/")
	ask := proxy.Ask{Peer: r.RemoteAddr, Host: host, Method: r.Method, URI: "/" + path, Header: r.Header}
	if d.uri != "" {
		var wrong string
		if ask.Method, wrong = only(r.Header, d.method); wrong == "" {
			ask.URI, wrong = only(r.Header, d.uri)
		}
		if more && wrong == "" {
			wrong = "the path has more than a server's name"
		}
		if wrong != "" {
			d.write(w, malformed(wrong))
			return
		}
	}
	d.write(w, c.ask(r.Context(), ask))
}

// ask has a request decided on, for the session that its header names.
func (c Config) ask(ctx context.Context, ask proxy.Ask) proxy.Answer {
	if name := c.LabelHeader; name != "" && ask.Header.Values(name) != nil {
		var wrong string
		if ask.Label, wrong = only(ask.Header, name); wrong != "" {
			return malformed(wrong)
		}
		// Envoy puts a comma between what the client sent and what it adds.
		if strings.Contains(ask.Label, ",") {
			return malformed(name + " has a comma in it, so that it may be two labels")
		}
	}
	return c.Authorize(ctx, ask)
}

// only returns the one value of a header. One that comes twice may be the
// gateway's or its client's.
func only(h http.Header, name string) (value, wrong string) {
	if values := h.Values(name); len(values) == 1 {
		return values[0], ""
	}
	return "", "the gateway must send " + name + " once, and see that its client's own does not pass"
}

func malformed(wrong string) proxy.Answer {
	return proxy.Refusal(http.StatusBadRequest, "authz_request", "it is not clear which request is meant: "+wrong)
}

// write sends an answer in the dialect.
func (d dialect) write(w http.ResponseWriter, a proxy.Answer) {
	if d.remove != "" && a.Granted() {
		w.Header().Set(d.remove, strings.ToLower(strings.Join(toRemove(a), ",")))
	}
	if d.body != "" && !a.Granted() {
		w.Header().Set(d.body, strings.TrimSpace(string(a.Body)))
	}
	if d.forbids && !a.Granted() {
		a.Status = http.StatusForbidden
	}
	write(w, a)
}

// toRemove returns the headers that an authorised request must not have.
func toRemove(a proxy.Answer) []string {
	var names []string
	for _, name := range proxy.CredentialHeaders() {
		if a.Header[name] == nil {
			names = append(names, name)
		}
	}
	return names
}
