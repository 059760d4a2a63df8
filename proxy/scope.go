package proxy

import (
	"context"
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy/internal/checks"
	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
	"github.com/agentproxy/agentproxy/signer"
)

// asked holds what the header of a request to an intercepted host says that
// decides whether it is signed.
type asked struct {
	upgrade     string   // the protocol to upgrade to, "" for none
	originalURL string   // the URL that a biscuit is asked for
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

// checkScope decides by the profile's scope of which kind the credential of a
// request is to be. It refuses a request that is out of scope, unless the scope only
// warns of it: then outOfScope alone is set.
func (p *profile) checkScope(ctx context.Context, f *facts) (kind signer.Kind, outOfScope *OutOfScope, refused *refuse.Refusal) {
	q := signer.Query{
		Host: f.target.Host, Port: f.target.Port, Method: f.method, Path: f.path,
		Upgrade: f.asked.upgrade, OriginalURL: f.asked.originalURL,
	}
	d := p.scope.Decide(ctx, q)
	if d.Reason == signer.InScope {
		return d.Kind, nil, nil
	}
	o := &OutOfScope{Reason: d.Reason, Host: f.target.Authority(), Method: f.method, Path: checks.Shortened(d.Path, checks.MaxPath), Upgrade: checks.Shortened(q.Upgrade, checks.MaxName), Sent: d.Allowed()}
	if entry, ok := p.scope.Widening(q, d); ok {
		o.Allow = entry.String()
	}
	if d.Allowed() {
		return d.Kind, o, nil
	}
	return d.Kind, o, p.refuseOutOfScope(o, q, d)
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
	// Sent reports that it was sent on all the same, because the scope only warns.
	Sent bool
}

func (p *profile) refuseOutOfScope(o *OutOfScope, q signer.Query, d signer.Decision) *refuse.Refusal {
	where := "scope.allow"
	if p.ownScope {
		where += " of profile " + p.Name
	}
	remedy := "to allow it, add to " + where + ": " + o.Allow
	switch {
	case o.Allow != "" && d.Reason == signer.ReasonBootstrap:
		remedy = "it makes an agent, which the proxy does itself; if clients are to make their own, add to " + where + ": all"
	case o.Allow != "":
	case d.Reason == signer.ReasonSpelling || d.Path == q.Path && !strings.HasPrefix(d.Path, "/"):
		remedy = "servers take this path for different ones; write it in its plain form"
	default:
		remedy = "nothing in " + where + " can allow it; write the path in its plain form, or use another method or host"
	}
	path := checks.Shortened(d.Path, checks.MaxPath)
	if path != d.Path {
		remedy = "to allow it, add an entry for its path to " + where
	}
	r := refuse.New(http.StatusForbidden, "out_of_scope", "http_request_denied",
		"%s https://%s%s was not sent, because it is not in scope (%s); %s", q.Method, strings.TrimSuffix(o.Host, ":443"), checks.Quoted(path), d.Reason, remedy)
	r.Request = &refuse.Request{Host: o.Host, Method: q.Method, Path: path, Reason: string(d.Reason)}
	if o.Allow != "" && len(d.Path) <= checks.MaxPath {
		r.Request.Allow = p.allowYAML(q, d)
	}
	return r
}

// allowYAML returns the lines of a configuration that allow a request.
func (p *profile) allowYAML(q signer.Query, d signer.Decision) string {
	entry, _ := p.scope.Widening(q, d)
	lines := p.scope.AllowYAML(entry)
	if p.ownScope {
		lines = "# in profile " + p.Name + "\n" + lines
	}
	return lines
}

// checkSite refuses a request that a browser sends for a web page of another site:
// the page must not act as the agent because the browser's traffic passes through
// the proxy. Sites that share a domain with the backend are other sites, for their
// names may dangle.
func (p *profile) checkSite(f *facts) *refuse.Refusal {
	own := func(origin string) bool {
		host, ok := strings.CutPrefix(origin, "https://")
		return ok && (f.target.Names(host, "443") || p.scope.IsBackend(host))
	}
	field, _ := localguard.ForeignPage(f.asked.origins, f.asked.fetchSite, own)
	if field == "" {
		return nil
	}
	return refuse.New(http.StatusForbidden, "cross_site", "http_request_denied",
		"a web page of another site sent this request to %s, as %s says, so it is not signed; send it from a page of %[1]s, or not from a web page",
		f.target.Authority(), field)
}
