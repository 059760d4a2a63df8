package authz

import (
	"context"
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/proxy"
)

// dialect is the way in which a kind of gateway asks over HTTP. The first segment of
// the path names the dialect, and the second the server that the request will go to: both
// come from the gateway's configuration, and no client can set them.
type dialect struct {
	// method and uri name the fields that describe the request. They are "" for a gateway
	// that asks with the request's own method, and its path after the second segment.
	method, uri string
	// forbids makes the status of every refusal 403. nginx answers other statuses with an
	// error of its own, and Envoy may be configured to pass a request on after a 5xx.
	forbids bool
	// body names the field that repeats the body of a refusal, for gateways that do not
	// pass the body on.
	body string
	// remove names the field that lists the fields which the request must not have. Other
	// gateways remove those that they are to copy and do not find.
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

// ask returns the decision on a request, for the session that its header names.
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

// only returns the single value of a field. Of two, one may be the client's.
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

// toRemove returns the fields that an authorised request must not have.
func toRemove(a proxy.Answer) []string {
	var names []string
	for _, name := range proxy.CredentialHeaders() {
		if a.Header[name] == nil {
			names = append(names, name)
		}
	}
	return names
}
