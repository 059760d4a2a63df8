package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy/usage"
	"github.com/agentproxy/agentproxy/signer"
)

// checkTimeout bounds each check that uses the network.
const checkTimeout = 15 * time.Second

// OnlyServers says how a CA of this version differs from one of an earlier version.
const OnlyServers = "good for TLS servers alone, whoever steals its key"

// caExpiryWarning is how long before its expiry a CA leads to a warning.
const caExpiryWarning = 30 * 24 * time.Hour

func (k *checker) checkCA() {
	ca, err := certs.Load(k.app.CAConfig())
	if errors.Is(err, fs.ErrNotExist) {
		k.warn("CA", "run agentproxy serve or run, which make one", "none in %s yet", k.app.CAConfig().Dir)
		return
	}
	if err != nil {
		k.fail("CA", "", "%s", err)
		return
	}
	end := ca.Certificate().NotAfter
	if end.Sub(k.app.Now()) < caExpiryWarning {
		k.warn("CA", "run agentproxy ca rotate", "%s expires at %s", ca.Path(), end.UTC().Format(time.RFC3339))
	} else if !ca.OnlyServers() {
		k.warn("CA", "run agentproxy ca rotate --prepare, give it to all clients, run agentproxy ca rotate", "%s is of an earlier version; a new one is %s", ca.Path(), OnlyServers)
	} else {
		k.ok("CA", "%s, good until %s", ca.Path(), end.UTC().Format(time.DateOnly))
	}
	k.checkTrust(ca)
}

// checkTrust finds whether programs started from this shell would trust the CA.
func (k *checker) checkTrust(ca *certs.Authority) {
	const remedy = `start programs with agentproxy run, or in a shell after eval "$(agentproxy env)", or run agentproxy ca install`
	bySystem := certs.SystemTrusts(ca.Certificate())
	if bySystem {
		k.checkSystemStore(ca)
	}
	var trusting, ignorant []string
	for _, name := range append(append([]string{}, clientenv.BundleVariables...), clientenv.ExtraCAVariables...) {
		file := k.env.Get(name)
		if file == "" {
			continue
		}
		if holdsCA(file, ca) {
			trusting = append(trusting, name)
		} else {
			ignorant = append(ignorant, name)
		}
	}
	switch {
	case len(ignorant) > 0:
		k.warn("CA trust", remedy, "the files that %s name in this shell lack the CA", strings.Join(ignorant, ", "))
	case len(trusting) > 0:
		k.ok("CA trust", "in this shell, by %s", strings.Join(trusting, ", "))
	case !bySystem:
		k.warn("CA trust", remedy, "no variable in this shell makes programs trust the CA")
	}
}

// checkSystemStore finds whether the system's store, which holds the CA, also holds a
// prepared one and no former one.
func (k *checker) checkSystemStore(ca *certs.Authority) {
	_, former, err := certs.Certificates(k.app.CAConfig().Dir)
	switch next := ca.Next(); {
	case err != nil:
		k.warn("CA trust", "", "%s", err)
	case next != nil && !certs.SystemTrusts(next):
		k.warn("CA trust", "run agentproxy ca install before ca rotate", "the system's store holds the CA, but not the one that is to follow")
	case slices.ContainsFunc(former, certs.SystemTrusts):
		k.warn("CA trust", "run agentproxy ca install, which takes it out", "the system's store holds the CA, and still a former one")
	default:
		k.ok("CA trust", "the system's store holds the CA")
	}
}

func holdsCA(file string, ca *certs.Authority) bool {
	raw, err := cli.ReadFile(file)
	if err != nil {
		return false
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	_, err = ca.Certificate().Verify(x509.VerifyOptions{Roots: pool})
	return err == nil
}

func (k *checker) checkLogin(ctx context.Context) {
	if !k.app.Config.Agent.Signer.UsesLogin() {
		k.ok("log-in", "signer.use is %s, which needs none", k.app.Config.Agent.Signer.Default.Use)
		return
	}
	account, err := k.app.Default.Account.Agent.Account(ctx)
	if err != nil {
		k.fail("log-in", "", "%s", err)
		return
	}
	who := account.Email
	if who == "" {
		who = account.UserID
	}
	k.ok("log-in", "%s in workspace %s", who, account.WorkspaceID)

	if ended := k.app.Default.Account.Agent.LoginEnded(ctx); ended != nil {
		k.fail("token", "", "%s", ended)
		return
	}
	expiry, err := k.app.Default.Account.Agent.TokenExpiry(ctx)
	switch {
	case errors.Is(err, identity.ErrNoLogin):
		k.warn("token", "run codex login if requests are to be signed with a token", "none")
	case err != nil:
		k.warn("token", "", "%s", err)
	case expiry.IsZero():
		k.ok("token", "it has no expiry")
	case !k.app.Now().Before(expiry):
		k.warn("token", "it is refreshed when it is needed", "it expired at %s", expiry.UTC().Format(time.RFC3339))
	default:
		k.ok("token", "good until %s", expiry.UTC().Format(time.RFC3339))
	}
}

func (k *checker) baseURL() *url.URL {
	base, err := url.Parse(k.app.Config.BaseURL)
	if err != nil {
		panic(err) // it was checked when the configuration was loaded
	}
	return base
}

func (k *checker) checkResolution(ctx context.Context) bool {
	host := k.baseURL().Hostname()
	if address, ok := k.app.Upstream().Route(k.baseURL()); ok {
		k.ok("names", "%s is reached through %s", host, address)
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		k.fail("names", "check this machine's name servers, or name a proxy in upstream.proxy", "%s", err)
		return false
	}
	k.ok("names", "%s is %s", host, strings.Join(addresses, ", "))
	return true
}

func (k *checker) checkTLS(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	answer, err := k.get(ctx, k.baseURL().String()+"/", nil)
	if err != nil {
		k.fail("TLS", "check the network, upstream.ca_file and upstream.proxy", "%s", err)
		return false
	}
	if answer.TLS == nil {
		k.ok("TLS", "none, for %s is not https", k.baseURL())
		return true
	}
	k.ok("TLS", "%s proved to be %s (%s)", k.baseURL().Host, answer.TLS.PeerCertificates[0].Subject, answer.Proto)
	return true
}

// get requests a URL and drops the body of the response.
func (k *checker) get(ctx context.Context, target string, header http.Header) (*http.Response, error) {
	response, _, err := k.read(ctx, target, header)
	return response, err
}

// read is get with the beginning of the body.
func (k *checker) read(ctx context.Context, target string, header http.Header) (*http.Response, []byte, error) {
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
	k.app.Clock.Observe(response.Header.Get("Date"))
	return response, raw, nil
}

func (k *checker) checkIdentity(ctx context.Context, reachable bool) {
	use := k.app.Config.Agent.Signer.Default.Use
	if use != config.UseAuto && use != config.UseAssertion {
		k.ok("identity", "signer.use is %s, which needs none", use)
		return
	}
	if reachable && k.app.Config.Agent.Identity.Register {
		ctx, cancel := context.WithTimeout(ctx, 3*checkTimeout)
		defer cancel()
		session, err := k.app.Default.Account.Agent.Session(ctx, "")
		if err != nil {
			k.identityMissing(err)
			return
		}
		k.ok("identity", "agent %s", session.Identity.AgentRuntimeID)
		if err := k.app.Default.Account.Agent.RenewTask(ctx, ""); err != nil {
			k.warn("task", "it serves until the backend forgets it", "%s is due to be replaced: %s", session.Task.ID, err)
			return
		}
		task, _ := k.app.Default.Account.Agent.Task(ctx, "")
		k.ok("task", "%s", task.ID)
		return
	}
	id, err := k.app.Default.Account.Agent.Identity(ctx)
	if err != nil {
		k.identityMissing(err)
		return
	}
	k.ok("identity", "agent %s", id.AgentRuntimeID)
	if task, ok := k.app.Default.Account.Agent.Task(ctx, ""); ok {
		k.ok("task", "%s", task.ID)
	} else {
		k.warn("task", "set identity.register, or import an identity that has one", "none")
	}
}

// identityMissing adds a failure if nothing else can sign, else a warning.
func (k *checker) identityMissing(err error) {
	if errors.Is(err, identity.ErrTokenLogin) && k.app.Config.Agent.Signer.Default.Use == config.UseAuto && k.app.Config.Agent.Signer.Default.OnFailure != config.FailToRefuse {
		k.ok("identity", "none, for the log-in is a workspace's access token")
		return
	}
	if k.app.Config.Agent.Signer.Default.Use == config.UseAuto && k.app.Config.Agent.Signer.Default.OnFailure != config.FailToRefuse {
		k.warn("identity", "until then requests are signed with the log-in's token", "%s", err)
		return
	}
	k.fail("identity", "", "%s", err)
}

func (k *checker) checkClock(reachable bool) {
	offset := k.app.Clock.Offset()
	switch {
	case !reachable:
		k.warn("clock", "", "not compared, for the backend cannot be reached")
	case k.app.Clock.Excess() != 0:
		k.fail("clock", "set this machine's clock", "the backend's is %s ahead, which is too much to be corrected for", k.app.Clock.Excess())
	case offset == 0:
		k.ok("clock", "agrees with the backend's")
	default:
		k.warn("clock", "time stamps are corrected, but set this machine's clock", "the backend's is %s ahead", offset)
	}
}

func (k *checker) checkSignedRequest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*checkTimeout)
	defer cancel()
	target := k.baseURL().JoinPath("codex", "models")
	request := signer.Request{Host: target.Hostname(), Method: http.MethodGet, Path: target.EscapedPath(), Kind: signer.KindAccount}
	target.RawQuery = "client_version=0.0.0"
	auth, err := signer.Authorize(ctx, k.app.Default.Signer, request)
	if err != nil {
		k.fail("signed request", "", "it cannot be signed: %s", err)
		return
	}
	answer, err := k.get(ctx, target.String(), app.HeaderOf(auth))
	if renewer, ok := k.app.Default.Signer.(signer.Renewer); ok && err == nil && answer.StatusCode == http.StatusUnauthorized {
		// As the proxy does.
		request.RefusedAt, _ = http.ParseTime(answer.Header.Get("Date"))
		if renewed, renewErr := renewer.Renew(ctx, request, auth); renewErr == nil {
			auth = renewed
			answer, err = k.get(ctx, target.String(), app.HeaderOf(auth))
		}
	}
	switch {
	case err != nil:
		k.fail("signed request", "", "%s", err)
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		k.fail("signed request", "run codex login, or agentproxy identity register --another", "the backend refused the %s with %s", auth.Scheme, answer.Status)
	default:
		k.ok("signed request", "the backend took the %s (%s)", auth.Scheme, answer.Status)
	}
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
	answer, raw, err := k.read(ctx, target.String(), app.HeaderOf(auth))
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
		k.warn("allowance", "ChatGPT answers 429 until then; this is the account's limit, not the proxy's", "used up at ChatGPT: %s", said)
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
