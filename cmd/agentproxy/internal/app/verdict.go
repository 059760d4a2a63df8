package app

import (
	"context"
	"errors"
	"strings"

	"github.com/agentproxy/agentproxy/signer"
)

// Verdict says what the proxy would do with a request to an intercepted host.
type Verdict struct {
	Query signer.Query
	Kind  signer.Kind
	// Code and Message say why the request would be refused. Code is "" if it would not.
	Code, Message string
	By            string // the line of the configuration that decides
}

// Err returns why the request would be refused, nil if it would not.
func (v Verdict) Err() error {
	if v.Code == "" {
		return nil
	}
	return errors.New(v.Query.Method + " https://" + v.Query.Host + v.Query.Path + " would be refused: " + v.Message)
}

// Judge returns what the proxy would do with a request to an intercepted host that the
// default principal signs. It does not send the request, but it may ask the backend for the
// origins of the account.
func (a *App) Judge(ctx context.Context, q signer.Query) Verdict {
	v, p := Verdict{Query: q}, a.Default
	if !signer.KnownMethod(q.Method) {
		v.Code, v.Message = "method_not_allowed", "requests with this method are not signed; use "+strings.Join(signer.Methods(), ", ")
		return v
	}
	d := p.Scope.Decide(ctx, q)
	v.Kind = d.Kind
	if d.Entry >= 0 {
		v.By = a.Config.Line(p.Config, "scope.allow", d.Entry)
		if d.Row != "" {
			v.By += ", " + d.Row
		}
	} else if d.Allowed() {
		v.By = "scope.on_miss: warn, although it is not in scope (" + string(d.Reason) + ")"
	}
	if !d.Allowed() {
		v.Code, v.Message = "out_of_scope", "it is not in scope ("+string(d.Reason)+")"
		if entry, ok := p.Scope.Widening(q, d); ok {
			v.Message += "; to allow it, add to scope.allow: " + entry.String()
		}
		return v
	}
	rules, ok := p.Signer.(signer.Rules)
	if !ok {
		return v
	}
	i, err := rules.Find(signer.Request{Host: q.Host, Method: q.Method, Path: q.Path, Kind: v.Kind})
	if i >= 0 {
		v.By = a.Config.Line(p.Config, "signer.rules", i)
	}
	if err != nil {
		v.Code, v.Message = string(signer.CodeOf(err)), err.Error()
	}
	return v
}
