package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/upstream"
	"github.com/agentproxy/agentproxy/proxy/usage"
	"github.com/agentproxy/agentproxy/signer"
)

// checkTimeout bounds each check that uses the network.
const checkTimeout = 15 * time.Second

func (k *checker) baseURL() *url.URL {
	base, err := url.Parse(k.config.BaseURL)
	if err != nil {
		panic(err) // it was checked when the configuration was loaded
	}
	return base
}

// remedyNetwork returns what to do if the backend cannot be reached. command is for a network
// without a proxy.
func (k *checker) remedyNetwork(command string) remedy {
	_, past := k.leads()
	for _, lead := range past {
		if lead.URL != nil && !k.config.NamesProxy() {
			return k.set(fmt.Sprintf("set upstream.proxy to env if this network has no other way out than %s, to which %s of this shell leads", lead.Place(), lead.Name))
		}
	}
	return do(command)
}

func (k *checker) checkResolution(ctx context.Context) bool {
	const check = "names"
	host := k.baseURL().Hostname()
	if address, ok := k.app.Upstream().Route(k.baseURL()); ok {
		k.ok(check, "%s is reached through %s", host, address)
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		k.fail(check, k.remedyNetwork("getent hosts "+quote(host)), "%s", err)
		return false
	}
	k.ok(check, "%s is %s", host, strings.Join(addresses, ", "))
	return true
}

func (k *checker) checkTLS(ctx context.Context) bool {
	const check = "TLS"
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	base := k.baseURL()
	answer, _, err := k.get(ctx, base.String()+"/", nil)
	if err != nil {
		k.tlsFailed(base, err)
		return false
	}
	if answer.TLS == nil {
		k.ok(check, "none: %s is not https", base)
		return true
	}
	k.ok(check, "%s proved to be %s (%s)", base.Host, answer.TLS.PeerCertificates[0].Subject, answer.Proto)
	return true
}

// tlsFailed tells that the backend could not be reached, for the reason err.
func (k *checker) tlsFailed(base *url.URL, err error) {
	const check = "TLS"
	unverified, isUnverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, atProxy := errors.AsType[*upstream.ProxyError](err)
	switch {
	case isUnverified && len(unverified.UnverifiedCertificates) > 0:
		leaf := unverified.UnverifiedCertificates[0]
		k.fail(check, k.set("if that is a proxy of your network which decrypts, set upstream.ca_file to its CA"),
			"%s shows a certificate of %s, which proves nothing here: %s", base.Host, leaf.Issuer, unverified.Err)
	case atProxy:
		k.fail(check, k.set("see that upstream.proxy is right"), "%s", err)
	default:
		k.fail(check, k.remedyNetwork("curl -v "+quote(base.String()+"/")), "%s cannot be reached: %s", base.Host, err)
	}
}

// get requests a URL, and returns the response and the beginning of its body.
func (k *checker) get(ctx context.Context, target string, header http.Header) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, nil, err
	}
	if header != nil {
		request.Header = header
	}
	response, err := k.app.Default.Account.Transport.RoundTrip(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	raw, _ := io.ReadAll(io.LimitReader(response.Body, 1<<20)) // as much as there is
	date := response.Header.Get("Date")
	if _, err := http.ParseTime(date); err == nil {
		k.dated = true
	}
	k.app.Clock.Observe(date)
	return response, raw, nil
}

func (k *checker) checkClock(reachable bool) {
	const check = "clock"
	offset := k.app.Clock.Offset()
	switch excess := k.app.Clock.Excess(); {
	case !reachable:
		k.ok(check, "not compared: the backend cannot be reached")
	case !k.dated:
		k.ok(check, "not compared: the backend did not say what time it is")
	case excess != 0:
		k.fail(check, do(setClock()), "this machine's clock is %s, too far off to be corrected for: what is signed is refused", comparison(excess))
	case offset == 0:
		k.ok(check, "agrees with the backend's")
	default:
		k.warn(check, do(setClock()), "this machine's clock is %s; what is signed is corrected for that", comparison(offset))
	}
}

// comparison returns how this machine's clock differs from the backend's, which is offset
// ahead.
func comparison(offset time.Duration) string {
	if offset < 0 {
		return (-offset).String() + " ahead of the backend's"
	}
	return offset.String() + " behind the backend's"
}

// checkSignedRequest sends the backend a request that is signed with what is there, and
// registers and refreshes nothing for it.
func (k *checker) checkSignedRequest(ctx context.Context, c credentials) {
	const check = "signed request"
	if !c.loggedIn && k.config.Agent.Signer.UsesLogin() {
		k.fail(check, none, "not tried: there is no log-in that can be used")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 3*checkTimeout)
	defer cancel()
	target := k.baseURL().JoinPath("codex", "models")
	request := signer.Request{Host: target.Hostname(), Method: http.MethodGet, Path: target.EscapedPath(), Kind: signer.KindAccount}
	target.RawQuery = "client_version=0.0.0"
	auth, err := signer.Authorize(ctx, k.app.Default.Signer, request)
	switch {
	case err != nil && c.renews && errors.Is(err, identity.ErrTokenExpired):
		k.warn(check, k.try(), "not tried: the access token has to be refreshed first")
		return
	case err != nil && c.comes && errors.Is(err, identity.ErrNoIdentity):
		k.warn(check, k.try(), "not tried: the agent has to be registered first")
		return
	case err != nil && c.comes && errors.Is(err, identity.ErrNoTask):
		k.warn(check, k.try(), "not tried: a task has to be registered first")
		return
	case err != nil:
		r := none // the lines above have it
		if !k.config.Agent.Signer.UsesLogin() {
			r = do(k.edit())
		}
		k.fail(check, r, "it cannot be signed: %s", err)
		return
	}
	answer, _, err := k.get(ctx, target.String(), auth.Header())
	if err != nil {
		k.fail(check, do(k.own("check")), "%s", err)
		return
	}
	k.judge(ctx, auth.Scheme, answer)
}

// judge tells what the backend thinks of a credential, by its answer.
func (k *checker) judge(ctx context.Context, scheme signer.Scheme, answer *http.Response) {
	const check = "signed request"
	id := k.config.Agent.Identity
	switch status := answer.StatusCode; {
	case status == http.StatusUnauthorized && scheme == signer.SchemeAssertion && k.app.Clock.Excess() != 0:
		k.fail(check, do(setClock()), "the backend refused the %s with %s, as it does what is signed by a clock that is off", scheme, answer.Status)
	case status == http.StatusUnauthorized && scheme == signer.SchemeAssertion && id.Register:
		k.warn(check, k.try(), "the backend refused the %s with %s; the proxy registers another task then, and sends the request again", scheme, answer.Status)
	case status == http.StatusUnauthorized && scheme == signer.SchemeBearer && k.config.Agent.Signer.UsesLogin() && k.app.Default.Account.Agent.CanRefresh(ctx):
		k.warn(check, k.try(), "the backend refused the %s with %s; the proxy refreshes it then, and sends the request again", scheme, answer.Status)
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		k.fail(check, k.remedyRefused(scheme), "the backend refused the %s with %s", scheme, answer.Status)
	case status == http.StatusTooManyRequests:
		k.warn(check, do(k.own("top")), "the backend took the %s, and answers %s: the account's limit is reached, not the proxy's", scheme, answer.Status)
	case status >= 500:
		k.warn(check, do(k.own("check")), "the backend answers %s, which says nothing of the %s", answer.Status, scheme)
	default:
		k.ok(check, "the backend took the %s (%s)", scheme, answer.Status)
	}
}

// remedyRefused returns what to do about a credential that the backend refuses for good.
func (k *checker) remedyRefused(scheme signer.Scheme) remedy {
	switch {
	case !k.config.Agent.Signer.UsesLogin():
		return k.set("have signer give another credential")
	case scheme == signer.SchemeAssertion:
		return do(k.ownAs("identity", "register", "--another"))
	}
	return k.remedyLogin(nil)
}

// checkQuota tells how much of the account's allowance is used up, where the backend
// says so.
func (k *checker) checkQuota(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	target := k.baseURL().JoinPath("wham", "usage")
	request := signer.Request{Host: target.Hostname(), Method: http.MethodGet, Path: target.EscapedPath(), Kind: signer.KindAccount}
	auth, err := signer.Authorize(ctx, k.app.Default.Signer, request)
	if err != nil {
		return // the signed request will tell of it
	}
	answer, raw, err := k.get(ctx, target.String(), auth.Header())
	if err != nil || answer.StatusCode != http.StatusOK {
		return
	}
	q, ok := usage.ParseReport(raw)
	if !ok {
		return
	}
	var words []string
	for _, w := range []*usage.Window{q.Primary, q.Secondary} {
		if w == nil {
			continue
		}
		word := fmt.Sprintf("%.0f%% of %s", w.UsedPercent, lengthOf(w))
		if !w.ResetAt.IsZero() {
			word += " until " + w.ResetAt.UTC().Format(time.RFC3339)
		}
		words = append(words, word)
	}
	said := strings.Join(words, ", ")
	if len(q.UsedUp()) > 0 && !q.Credits {
		k.warn("allowance", remedy{"ChatGPT answers 429 until then; this is the account's limit, not the proxy's; to watch it", k.own("top")}, "used up at ChatGPT: %s", said)
		return
	}
	k.ok("allowance", "used at ChatGPT: %s", said)
}

// lengthOf returns the length of a window in words.
func lengthOf(w *usage.Window) string {
	hours := int(w.Length.Hours())
	switch {
	case hours == 0:
		return "a window"
	case hours%24 == 0:
		return fmt.Sprintf("%d days", hours/24)
	}
	return fmt.Sprintf("%d hours", hours)
}
