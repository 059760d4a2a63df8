package proxy

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// asked is what the header of a request to an intercepted host says that decides
// whether it is signed.
type asked struct {
	upgrade     string   // the protocol to upgrade to, "" for none
	originalURL string   // what a biscuit is wanted for
	origins     []string // of the web pages that had it sent
	fetchSite   []string // how these are related to the host
}

func askedBy(h http.Header) asked {
	a := asked{origins: h["Origin"], fetchSite: h["Sec-Fetch-Site"]}
	if values := h["X-Original-Url"]; len(values) == 1 {
		a.originalURL = values[0]
	}
	return a
}

// checkScope refuses the exchange's request if it is out of its profile's scope,
// and notes else of which kind its credential is to be.
func (x *exchange) checkScope(ctx context.Context) *refuse.Refusal {
	scope := x.profile.scope
	q := signer.Query{
		Host: x.target.Host, Port: x.target.Port, Method: x.method, Path: x.path,
		Upgrade: x.asked.upgrade, OriginalURL: x.asked.originalURL,
	}
	d := scope.Decide(ctx, q)
	x.credential = d.Kind
	if d.Reason == signer.InScope {
		return nil
	}
	x.outOfScope = &OutOfScope{Reason: d.Reason, Host: x.target.Authority(), Method: x.method, Path: d.Path, Upgrade: q.Upgrade, Sent: d.Allowed()}
	if entry, ok := scope.Widening(q, d); ok {
		x.outOfScope.Allow = entry.String()
	}
	if d.Allowed() {
		return nil
	}
	return x.refuseOutOfScope(q, d)
}

// OutOfScope is a request that was out of scope. Method and Path are the client's
// words.
type OutOfScope struct {
	Reason signer.Reason
	Host   string // host:port
	Method string
	Path   string // as it was understood
	// Upgrade is the protocol that the connection was to be upgraded to.
	Upgrade string
	// Allow is the entry of scope.allow that would allow it, "" if none would.
	Allow string
	// Sent says that it was sent on all the same, for the scope only warns.
	Sent bool
}

// maxPathShown bounds, in bytes, the path that a refusal tells.
const maxPathShown = 1024

func (x *exchange) refuseOutOfScope(q signer.Query, d signer.Decision) *refuse.Refusal {
	where := "scope.allow"
	if x.profile.ownScope {
		where += " of profile " + x.profile.Name
	}
	remedy := "to allow it, add to " + where + ": " + x.outOfScope.Allow
	switch {
	case x.outOfScope.Allow != "" && d.Reason == signer.ReasonBootstrap:
		remedy = "it makes an agent, which the proxy does itself; if clients are to make their own, add to " + where + ": all"
	case x.outOfScope.Allow != "":
	case d.Reason == signer.ReasonSpelling || d.Path == q.Path && !strings.HasPrefix(d.Path, "/"):
		remedy = "servers take this path for different ones; write it in its plain form"
	default:
		remedy = "nothing in " + where + " can allow it; write the path in its plain form, or use another method or host"
	}
	host := strings.TrimSuffix(x.target.Authority(), ":443")
	path := d.Path
	if len(path) > maxPathShown {
		path = path[:maxPathShown] + "…"
		remedy = "to allow it, add an entry for its path to " + where
	}
	r := refuse.New(http.StatusForbidden, "out_of_scope", "http_request_denied",
		"%s https://%s%s was not sent, because it is not in scope (%s); %s", q.Method, host, quotePath(path), d.Reason, remedy)
	r.Request = &refuse.Request{Host: x.target.Authority(), Method: q.Method, Path: path, Reason: string(d.Reason)}
	if x.outOfScope.Allow != "" && len(d.Path) <= maxPathShown {
		r.Request.Allow = x.allowYAML(q, d)
	}
	return r
}

// allowYAML returns the lines of a configuration that allow a request.
func (x *exchange) allowYAML(q signer.Query, d signer.Decision) string {
	entry, _ := x.profile.scope.Widening(q, d)
	lines := x.profile.scope.AllowYAML(entry)
	if x.profile.ownScope {
		lines = "# in profile " + x.profile.Name + "\n" + lines
	}
	return lines
}

// quotePath returns a path as it can stand in a message of one line.
func quotePath(path string) string {
	if printable(path) {
		return path
	}
	return strings.Trim(strconv.QuoteToGraphic(path), `"`)
}
