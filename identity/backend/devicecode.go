package backend

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

const (
	// deviceCodeLife is how long a device code is waited for, as in Codex.
	deviceCodeLife = 15 * time.Minute
	// defaultDeviceInterval is the pause between two polls where the server names
	// none (RFC 8628, section 3.2). It may name one between the other two.
	defaultDeviceInterval = 5 * time.Second
	minDeviceInterval     = time.Second
	maxDeviceInterval     = time.Minute
	// deviceSlowDown is what slow_down adds to it (RFC 8628, section 3.5).
	deviceSlowDown = 5 * time.Second
	// maxUserCode bounds what is shown of an answer, in bytes.
	maxUserCode = 64
)

// Why a log-in by device code came to nothing. Errors of [Client.DeviceCode] and
// [Client.DeviceLogin] wrap them.
var (
	ErrNoDeviceCodes      = errors.New("the accounts service has no device codes enabled for this account")
	ErrDeviceCodeRefused  = errors.New("the device code was refused")
	ErrDeviceCodeExpired  = errors.New("the device code has expired")
	ErrDeviceLoginUnknown = errors.New("the answer does not say whose log-in it is")
)

// DeviceCode is a code that a person enters on another device to log this one in.
type DeviceCode struct {
	// UserCode is what the person enters at URL.
	UserCode string
	URL      string
	// Life is how long it is waited for.
	Life time.Duration

	id       identity.Secret
	interval time.Duration
}

// DeviceCode asks the accounts service for a device code.
func (b *Client) DeviceCode(ctx context.Context) (_ *DeviceCode, err error) {
	defer b.observe(OperationDeviceCode, &err)
	const doing = "ask for a device code"
	_, raw, err := b.do(ctx, call{doing: doing, method: http.MethodPost, url: b.config.Overrides.AccountsURL + "/deviceauth/usercode", body: map[string]string{
		"client_id": oauthClientID,
	}})
	if Status(err) == http.StatusNotFound {
		return nil, fmt.Errorf("%s: %w; enable them in the security settings of ChatGPT, or log in with codex login", doing, ErrNoDeviceCodes)
	}
	if err != nil {
		return nil, err
	}
	code, err := parseDeviceCode(raw)
	if err != nil {
		return nil, newUnusableError(doing, err, raw)
	}
	code.URL = b.issuer() + "/codex/device"
	return code, nil
}

// parseDeviceCode reads the answer of the endpoint. The user code is shown on a
// terminal, so it must be a short word.
func parseDeviceCode(raw []byte) (*DeviceCode, error) {
	var d strictjson.Decoder
	o := d.Document("answer", raw)
	code := &DeviceCode{
		UserCode: cmp.Or(o.Text("user_code"), o.Text("usercode")),
		Life:     deviceCodeLife,
		id:       identity.Secret(o.Text("device_auth_id")),
		interval: defaultDeviceInterval,
	}
	interval, ok := parseInterval(o)
	switch {
	case d.Err != nil:
		return nil, d.Err
	case code.UserCode == "", len(code.UserCode) > maxUserCode, !identity.HeaderSafe(code.UserCode):
		return nil, errors.New("the answer holds no user_code")
	case code.id == "":
		return nil, errors.New("the answer holds no device_auth_id")
	}
	if ok {
		code.interval = min(max(interval, minDeviceInterval), maxDeviceInterval)
	}
	return code, nil
}

// parseInterval reads the number of seconds between two polls, which the service puts
// into a string and RFC 8628 does not.
func parseInterval(o strictjson.Object) (time.Duration, bool) {
	if v := o.Get("interval"); v.IsString() {
		seconds, err := strconv.ParseUint(v.Text(), 10, 16)
		return time.Duration(seconds) * time.Second, err == nil
	}
	at := o.Seconds("interval")
	return at.Sub(time.Unix(0, 0)), !at.IsZero()
}

// DeviceLogin waits until a person has entered code and returns the tokens of the
// log-in that comes of it. Its id token names the workspace. The error wraps
// [ErrDeviceCodeRefused] or [ErrDeviceCodeExpired] if nothing can come of the code.
func (b *Client) DeviceLogin(ctx context.Context, code *DeviceCode) (identity.TokenSet, error) {
	grant, verifier, err := b.awaitDevice(ctx, code)
	if err != nil {
		return identity.TokenSet{}, err
	}
	// The server may have made the log-in when the answer is awaited no more.
	tokens, err := b.exchangeCode(context.WithoutCancel(ctx), grant, verifier)
	if err != nil {
		return identity.TokenSet{}, err
	}
	claims, err := identity.ParseClaims(tokens.IDToken.Reveal())
	if err == nil && claims.WorkspaceID == "" {
		err = errors.New("its id_token names no workspace")
	}
	if err != nil {
		// Nobody will ever use it.
		_ = b.Revoke(context.WithoutCancel(ctx), tokens.RefreshToken)
		return identity.TokenSet{}, fmt.Errorf("%w: %w", ErrDeviceLoginUnknown, err)
	}
	return tokens, nil
}

// awaitDevice polls until the code was entered. It returns an authorization code
// and its verifier (RFC 7636).
func (b *Client) awaitDevice(ctx context.Context, code *DeviceCode) (grant, verifier identity.Secret, err error) {
	interval := code.interval
	// The sum of what was waited bounds it too: the clock may be set meanwhile.
	for begin, waited := b.config.Clock.Now(), time.Duration(0); ; {
		if waited >= code.Life || b.config.Clock.Now().Sub(begin) >= code.Life {
			return "", "", fmt.Errorf("%w: nobody has entered it within %s; run agentproxy login again", ErrDeviceCodeExpired, code.Life)
		}
		if err := b.config.Wait(ctx, interval); err != nil {
			return "", "", err
		}
		waited += interval
		grant, verifier, err = b.pollDevice(ctx, code)
		if err == nil {
			return grant, verifier, nil
		}
		switch answer, _ := errors.AsType[*AnswerError](err); {
		case ctx.Err() != nil:
			return "", "", err
		case answer == nil && isTransient(err):
			// Not reached. The code is good all the same.
		case answer == nil:
			return "", "", err
		case answer.Code == "access_denied":
			return "", "", fmt.Errorf("%w; run agentproxy login again if that was not meant", ErrDeviceCodeRefused)
		case answer.Code == "expired_token":
			return "", "", fmt.Errorf("%w; run agentproxy login again", ErrDeviceCodeExpired)
		case answer.Code == "slow_down":
			interval = min(interval+deviceSlowDown, maxDeviceInterval)
		case isTransient(err):
			interval = min(max(interval, answer.RetryAfter), maxDeviceInterval)
		case answer.Status == http.StatusForbidden, answer.Status == http.StatusNotFound:
			// As in Codex: nobody has entered it yet.
		case strings.HasSuffix(answer.Code, "authorization_pending"):
		default:
			return "", "", err
		}
	}
}

// pollDevice asks once whether the code was entered.
func (b *Client) pollDevice(ctx context.Context, code *DeviceCode) (grant, verifier identity.Secret, err error) {
	const doing = "ask whether the device code was entered"
	_, raw, err := b.do(ctx, call{doing: doing, method: http.MethodPost, url: b.config.Overrides.AccountsURL + "/deviceauth/token", body: map[string]string{
		"device_auth_id": code.id.Reveal(),
		"user_code":      code.UserCode,
	}})
	if err != nil {
		return "", "", err
	}
	var d strictjson.Decoder
	o := d.Document("answer", raw)
	grant, verifier = identity.Secret(o.Text("authorization_code")), identity.Secret(o.Text("code_verifier"))
	switch {
	case d.Err != nil:
		err = d.Err
	case grant == "" || verifier == "":
		err = errors.New("the answer holds no authorization_code with its code_verifier")
	}
	if err != nil {
		return "", "", newUnusableError(doing, err, raw)
	}
	return grant, verifier, nil
}

// exchangeCode exchanges an authorization code for tokens (RFC 6749, section 4.1.3).
func (b *Client) exchangeCode(ctx context.Context, grant, verifier identity.Secret) (_ identity.TokenSet, err error) {
	defer b.observe(OperationDeviceLogin, &err)
	const doing = "exchange the device's authorization code"
	_, raw, err := b.do(ctx, call{doing: doing, method: http.MethodPost, url: b.issuer() + "/oauth/token", form: url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {grant.Reveal()},
		"redirect_uri":  {b.issuer() + "/deviceauth/callback"},
		"client_id":     {oauthClientID},
		"code_verifier": {verifier.Reveal()},
	}})
	if err != nil {
		return identity.TokenSet{}, err
	}
	tokens, err := parseRefreshAnswer(raw)
	switch {
	case err != nil:
	case tokens.RefreshToken == "":
		err = errors.New("the answer holds no refresh_token")
	case tokens.IDToken == "":
		err = errors.New("the answer holds no id_token")
	}
	if err != nil {
		return identity.TokenSet{}, newUnusableError(doing, err, raw)
	}
	return tokens, nil
}

// issuer returns the origin of the accounts service, below which its pages and its
// OAuth endpoints are.
func (b *Client) issuer() string {
	u, err := url.Parse(b.config.Overrides.AccountsURL)
	if err != nil {
		return "" // it was checked when it was read
	}
	return u.Scheme + "://" + u.Host
}
