package doctor

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/signer"
)

// parseRequest parses a request such as "POST https://chatgpt.com/backend-api/files".
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
	// As a client would send it: net/url would encode it in another way.
	path, _, _ = strings.Cut(path, "?")
	q.Path = cmp.Or(path, "/")
	u := url.URL{Host: authority}
	if q.Host, q.Port = strings.ToLower(u.Hostname()), u.Port(); q.Port == "" {
		q.Port = "443"
	}
	if q.Host == "" || strings.Contains(authority, "@") {
		return q, errors.New("--request: it names no host, or a user; write it as in \"GET https://chatgpt.com/backend-api/codex/models\"")
	}
	return q, nil
}

// Request finds what the proxy would do with a request such as
// "POST https://chatgpt.com/backend-api/files", and which line of the configuration
// decides. It does not send the request.
func Request(ctx context.Context, request string, o Options) (Report, error) {
	q, err := parseRequest(request)
	if err != nil {
		return Report{}, cli.Usagef("%w", err)
	}
	k := &checker{options: o, env: o.Env}
	if !k.open() {
		return k.report(), nil
	}
	a := k.app
	defer a.Close()
	name := q.Method + " https://" + strings.TrimSuffix(net.JoinHostPort(q.Host, q.Port), ":443") + q.Path
	if q.Upgrade != "" {
		name += " (WebSocket)"
	}
	if !a.Config.Agent.Intercept.Match(q.Host, q.Port) {
		k.judgeOther(a, q, name)
		return k.report(), nil
	}
	v := a.Judge(ctx, q)
	switch {
	case v.Code != "":
		var r remedy
		if v.By != "" {
			r.words = "decided by " + v.By
		}
		k.fail("request", r, "%s is refused (%s): %s", name, v.Code, v.Message)
	case v.Kind == signer.KindClient:
		k.ok("request", "%s is sent as the client sends it, by %s", name, v.By)
	case v.Kind == signer.KindNone:
		k.ok("request", "%s is sent without a credential, by %s", name, v.By)
	default:
		k.ok("request", "%s is signed (%s), by %s", name, v.Kind, v.By)
	}
	return k.report(), nil
}

// judgeOther judges a request to a host that is not intercepted.
func (k *checker) judgeOther(a *app.App, q signer.Query, name string) {
	other := a.Config.Agent.OtherHosts
	if other.Refuse && !other.Only.Match(q.Host, q.Port) {
		k.fail("request", none, "%s is refused (host_refused): the host is neither among chatgpt.hosts nor in other_hosts", name)
		return
	}
	k.ok("request", "%s is not decrypted: the host is not among chatgpt.hosts, so a tunnel leads there, if other_ports allows the port", name)
}
