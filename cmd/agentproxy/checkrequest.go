package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/signer"
)

// verdict is what would become of a request.
type verdict struct {
	query    signer.Query
	decision signer.Decision
	kind     signer.Kind
	// code and message say why the request would be refused. code is "" if it is
	// not.
	code, message string
	by            string // the line of the configuration that decides
}

// parseRequest reads a request such as "POST https://chatgpt.com/backend-api/files".
// "WEBSOCKET" may stand in place of the method.
func parseRequest(s string) (q signer.Query, err error) {
	method, rawURL, ok := strings.Cut(s, " ")
	if !ok {
		method, rawURL = "GET", s
	}
	rest, ok := strings.CutPrefix(rawURL, "https://")
	if !ok {
		return q, errors.New(`--request: write it as a method and a URL, as in "POST https://chatgpt.com/backend-api/codex/responses"`)
	}
	if strings.EqualFold(method, "websocket") {
		method, q.Upgrade = "GET", "websocket"
	}
	authority, path := rest, "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	q.Method = method
	// As it would be sent: net/url would write it in another way.
	q.Path, _, _ = strings.Cut(path, "?")
	if q.Path == "" {
		q.Path = "/"
	}
	u := url.URL{Host: authority}
	if q.Host, q.Port = strings.ToLower(u.Hostname()), u.Port(); q.Port == "" {
		q.Port = "443"
	}
	if q.Host == "" || strings.Contains(authority, "@") {
		return q, errors.New("--request: it names no host, or a user; write it as in \"GET https://chatgpt.com/backend-api/codex/models\"")
	}
	return q, nil
}

// judge says what would become of a request to an intercepted host. It sends
// nothing, but it may ask for the origins of the account.
func (p *principal) judge(ctx context.Context, q signer.Query) verdict {
	v := verdict{query: q}
	if !signer.KnownMethod(q.Method) {
		v.code, v.message = "method_not_allowed", "requests with this method are not signed; use "+strings.Join(signer.Methods(), ", ")
		return v
	}
	v.decision = p.scope.Decide(ctx, q)
	v.kind = v.decision.Kind
	if v.decision.Entry >= 0 {
		v.by = p.config.line("scope.allow", v.decision.Entry)
		if v.decision.Row != "" {
			v.by += ", " + v.decision.Row
		}
	} else if v.decision.Allowed() {
		v.by = "scope.on_miss: warn, although it is not in scope (" + string(v.decision.Reason) + ")"
	}
	if !v.decision.Allowed() {
		v.code, v.message = "out_of_scope", "it is not in scope ("+string(v.decision.Reason)+")"
		if entry, ok := p.scope.Widening(q, v.decision); ok {
			v.message += "; to allow it, add to scope.allow: " + entry.String()
		}
		return v
	}
	rules, ok := p.signer.(signer.Rules)
	if !ok {
		return v
	}
	i, err := rules.Find(signer.Request{Host: q.Host, Method: q.Method, Path: q.Path, Kind: v.kind})
	if i >= 0 {
		v.by = p.config.line("signer.rules", i)
	}
	if err != nil {
		v.code, v.message = string(signer.CodeOf(err)), err.Error()
	}
	return v
}

// line names an element of a list in the configuration, and its line where it has
// one.
func (c *config) line(key string, index int) string {
	name := fmt.Sprintf("%s[%d]", key, index)
	if c.profile != "" {
		name = "profile " + c.profile + ", " + name
	} else if c.source != nil {
		if token := c.source.find(name); token != nil {
			return name + " (" + c.source.at(token) + ")"
		}
	}
	return name
}

// checkRequest says what would become of a request, and which line decides.
func (c *command) checkRequest(ctx context.Context, request string) ([]finding, error) {
	q, err := parseRequest(request)
	if err != nil {
		return nil, cli.Usagef("%w", err)
	}
	k := &checker{env: c.env}
	a, err := c.load()
	if err != nil {
		k.fail("configuration", "", "%s", err)
		return k.findings, nil
	}
	defer a.close()
	name := q.Method + " https://" + strings.TrimSuffix(net.JoinHostPort(q.Host, q.Port), ":443") + q.Path
	if q.Upgrade != "" {
		name += " (WebSocket)"
	}
	if !a.config.intercept.Match(q.Host, q.Port) {
		k.judgeOther(a, q, name)
		return k.findings, nil
	}
	v := a.judge(ctx, q)
	switch {
	case v.code != "":
		remedy := ""
		if v.by != "" {
			remedy = "decided by " + v.by
		}
		k.fail("request", remedy, "%s is refused (%s): %s", name, v.code, v.message)
	case v.kind == signer.KindClient:
		k.ok("request", "%s is sent as the client sends it, by %s", name, v.by)
	case v.kind == signer.KindNone:
		k.ok("request", "%s is sent without a credential, by %s", name, v.by)
	default:
		k.ok("request", "%s is signed (%s), by %s", name, v.kind, v.by)
	}
	return k.findings, nil
}

// judgeOther is for hosts that are not intercepted.
func (k *checker) judgeOther(a *app, q signer.Query, name string) {
	other := a.config.other
	if other.Refuse && !other.Only.Match(q.Host, q.Port) {
		k.fail("request", "", "%s is refused (host_refused): the host is neither among chatgpt.hosts nor in other_hosts", name)
		return
	}
	k.ok("request", "%s is not decrypted: the host is not among chatgpt.hosts, so a tunnel leads there, if other_ports allows the port", name)
}

// err says why the request would be refused, nil if it is not.
func (v verdict) err() error {
	if v.code == "" {
		return nil
	}
	return errors.New(v.query.Method + " https://" + v.query.Host + v.query.Path + " would be refused: " + v.message)
}
