package app

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/signer"
)

const (
	// originsTimeout bounds the request for an account's origins.
	originsTimeout = 15 * time.Second
	// originsHold is how long a response is used, originsRetry how long no other is asked
	// for after a failure.
	originsHold  = time.Hour
	originsRetry = time.Minute
	// maxOriginsAnswer bounds the response, in bytes.
	maxOriginsAnswer = 1 << 20
)

// origins knows the hosts that the backend names for an account besides its own. Like
// Codex, it learns them from wham/accounts/check. It asks when such a host is first
// wanted, and reads no response to a client.
type origins struct {
	base      *url.URL
	transport http.RoundTripper
	signer    signer.Signer
	account   func(context.Context) (id string, err error)
	now       func() time.Time
	failed    func(error)

	asking chan struct{} // of capacity 1: holds a value while the backend is asked
	mu     sync.Mutex
	of     string // the account of named
	named  map[string]bool
	until  time.Time // named is used until then
}

var _ signer.Origins = (*origins)(nil)

// Named implements [signer.Origins].
func (o *origins) Named(ctx context.Context, host string) bool {
	id, _ := o.account(ctx) // where there is no log-in, the signer knows the account
	if named, ok := o.known(id); ok {
		return named[host]
	}
	select {
	case o.asking <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-o.asking }()
	if named, ok := o.known(id); ok { // what another has learned meanwhile
		return named[host]
	}
	return o.learn(ctx, id)[host]
}

// known returns the hosts of an account, and whether they may still be used.
func (o *origins) known(id string) (map[string]bool, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.named, o.of == id && o.now().Before(o.until)
}

// learn asks for the hosts of an account. If that fails, it goes on with the former ones,
// and if the request that wants to know has ended, the next one asks.
func (o *origins) learn(request context.Context, id string) map[string]bool {
	ctx, cancel := context.WithTimeout(request, originsTimeout)
	defer cancel()
	named, err := o.ask(ctx, id)
	if err != nil && request.Err() != nil {
		return nil
	}
	hold := originsHold
	if err != nil {
		hold = originsRetry
		o.failed(err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil || o.of != id {
		o.of, o.named = id, named
	}
	o.until = o.now().Add(hold)
	return o.named
}

// ask asks the backend for the hosts of an account.
func (o *origins) ask(ctx context.Context, id string) (map[string]bool, error) {
	target := o.base.JoinPath("wham", "accounts", "check")
	question := signer.Request{Host: target.Hostname(), Method: http.MethodGet, Path: target.EscapedPath(), Kind: signer.KindAccount}
	auth, err := signer.Authorize(ctx, o.signer, question)
	if err != nil {
		return nil, err
	}
	response, err := o.send(ctx, target, auth)
	if err != nil {
		return nil, err
	}
	if renewer, ok := o.signer.(signer.Renewer); ok && response.StatusCode == http.StatusUnauthorized {
		response.Body.Close()
		question.RefusedAt, _ = http.ParseTime(response.Header.Get("Date"))
		if auth, err = renewer.Renew(ctx, question, auth); err != nil {
			return nil, err
		}
		if response, err = o.send(ctx, target, auth); err != nil {
			return nil, err
		}
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", target, response.Status)
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxOriginsAnswer))
	if err != nil {
		return nil, err
	}
	if auth.AccountID != "" && id != "" && auth.AccountID != id {
		return nil, errors.New("the log-in has changed meanwhile")
	}
	return originsOf(body, cmp.Or(id, auth.AccountID))
}

func (o *origins) send(ctx context.Context, target *url.URL, auth *signer.Authorization) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	request.Header = auth.Header()
	return o.transport.RoundTrip(request)
}

// originsOf returns the hosts that a response names for an account. It leaves out origins
// that are not below chatgpt.com or not on port 443.
func originsOf(answer []byte, account string) (map[string]bool, error) {
	var accounts struct {
		Accounts []struct {
			ID     string `json:"id"`
			Origin string `json:"workspace_backend_origin"`
		} `json:"accounts"`
	}
	if json.Unmarshal(answer, &accounts) != nil { // its error might quote the answer
		return nil, fmt.Errorf("the answer about the account's origins is not what was expected")
	}
	named := make(map[string]bool)
	for _, a := range accounts.Accounts {
		if a.ID != account || account == "" {
			continue
		}
		u, err := url.Parse(a.Origin)
		if err != nil || u.Scheme != "https" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			continue
		}
		host := strings.ToLower(u.Hostname())
		if (u.Port() == "" || u.Port() == "443") && strings.HasSuffix(host, ".chatgpt.com") {
			named[host] = true
		}
	}
	return named, nil
}
