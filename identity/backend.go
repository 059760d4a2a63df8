package identity

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// Backend asks ChatGPT's backend for what an identity needs. It is safe for
// concurrent use.
type Backend struct {
	config    BackendConfig
	endpoints Endpoints
}

// BackendConfig says where the backend is and what is said to it.
type BackendConfig struct {
	// BaseURL is the backend's, such as https://chatgpt.com/backend-api.
	BaseURL string
	// RefreshURL is where tokens are refreshed. "": [DefaultRefreshURL].
	RefreshURL string
	// Transport sends the requests. It must verify servers.
	Transport http.RoundTripper
	// Clock gives the time stamps, and learns from the answers. nil: one of its
	// own.
	Clock *Clock
	// ABOM describes the agents that are registered.
	ABOM ABOM
	// Observe, if set, is told what came of every request to the backend.
	Observe func(Operation, Result)
}

// DefaultRefreshURL is where Codex refreshes tokens, unless the environment
// variable CODEX_REFRESH_TOKEN_URL_OVERRIDE names another place.
const DefaultRefreshURL = "https://auth.openai.com/oauth/token"

// oauthClientID is Codex's, whose refresh tokens these are.
const oauthClientID = "app_EMoamEEZ73f0CkXaXp7hrann"

const (
	// backendTimeout bounds each request, as in Codex.
	backendTimeout = 15 * time.Second
	// maxAnswer bounds what is read of an answer, in bytes.
	maxAnswer = 1 << 20
)

// errNoAnswer is why a request is given up.
var errNoAnswer = fmt.Errorf("no answer within %s", backendTimeout)

// NewBackend returns the backend of config.
func NewBackend(config BackendConfig) *Backend {
	if config.RefreshURL == "" {
		config.RefreshURL = DefaultRefreshURL
	}
	if config.Clock == nil {
		config.Clock = NewClock(nil, nil)
	}
	return &Backend{config: config, endpoints: EndpointsFor(config.BaseURL)}
}

// AnswerError says that the backend answered a request with a refusal.
type AnswerError struct {
	Doing  string // such as "register the agent"
	Status int
	Code   string // the error code in the answer, "" if there is none
	// RetryAfter is how long it asks to be left alone (RFC 9110, 10.2.3), 0 if it
	// does not.
	RetryAfter time.Duration
}

func (e *AnswerError) Error() string {
	if e.Code != "" {
		return fmt.Sprintf("%s: the backend answered %d (%s)", e.Doing, e.Status, e.Code)
	}
	return fmt.Sprintf("%s: the backend answered %d", e.Doing, e.Status)
}

// statusOf returns the status of an [AnswerError], 0 for other errors.
func statusOf(err error) int {
	if e, ok := errors.AsType[*AnswerError](err); ok {
		return e.Status
	}
	return 0
}

// Biscuit asks for the human biscuit that vouches for a POST to url, in the
// name of whoever token belongs to.
func (b *Backend) Biscuit(ctx context.Context, token Secret, url string) (_ Secret, err error) {
	defer b.observe(OperationBiscuit, &err)
	const doing = "ask for the human biscuit"
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails, by its documentation
	header := http.Header{
		"Authorization":     {"Bearer " + token.Reveal()},
		"X-Request-Id":      {"codex-agent-identity-" + base64.RawURLEncoding.EncodeToString(id[:])},
		"X-Original-Method": {http.MethodPost},
		"X-Original-Url":    {url},
	}
	answer, _, err := b.do(ctx, doing, http.MethodGet, b.endpoints.Biscuit, header, nil)
	if err != nil {
		return "", err
	}
	biscuit := answer.Get("X-Openai-Authorization")
	if biscuit == "" {
		return "", fmt.Errorf("%s: the answer lacks the header x-openai-authorization", doing)
	}
	return Secret(biscuit), nil
}

// RegisterAgent registers the agent whose public key is key's, with a biscuit
// for [Backend.RegisterAgentURL], and returns its runtime id.
func (b *Backend) RegisterAgent(ctx context.Context, key *Key, biscuit Secret) (runtimeID string, err error) {
	defer b.observe(OperationRegisterAgent, &err)
	const doing = "register the agent"
	body := struct {
		ABOM           ABOM     `json:"abom"`
		AgentPublicKey string   `json:"agent_public_key"`
		Capabilities   []string `json:"capabilities"`
	}{b.config.ABOM, key.PublicKey(), []string{}}
	_, raw, err := b.do(ctx, doing, http.MethodPost, b.endpoints.RegisterAgent, biscuitHeader(biscuit), body)
	if err != nil {
		return "", err
	}
	return parseAgentAnswer(doing, raw)
}

func parseAgentAnswer(doing string, raw []byte) (string, error) {
	var d decoder
	id := d.document("answer", raw).required("agent_runtime_id")
	if d.err == nil {
		d.err = checkID("agent_runtime_id", id)
	}
	if d.err != nil {
		return "", fmt.Errorf("%s: %w", doing, d.err)
	}
	return id, nil
}

// maxID bounds the ids that the backend gives out, in bytes. They are part of
// every assertion.
const maxID = 512

// checkID refuses an id that would spoil logs and headers.
func checkID(name, id string) error {
	if len(id) > maxID || strings.ContainsFunc(id, unicode.IsControl) {
		return fmt.Errorf("the answer's %s is too long or holds control characters", name)
	}
	return nil
}

// RegisterTask registers a task of id, with a biscuit for
// [Endpoints.RegisterTask], or "" for an identity that needs none.
func (b *Backend) RegisterTask(ctx context.Context, id *Identity, biscuit Secret) (_ Task, err error) {
	defer b.observe(OperationRegisterTask, &err)
	doing := fmt.Sprintf("register a task of agent identity %q", id.AgentRuntimeID)
	signature, timestamp := id.Key.SignTaskRegistration(id.AgentRuntimeID, b.config.Clock.Backend())
	body := struct {
		Signature string `json:"signature"`
		Timestamp string `json:"timestamp"`
	}{signature, timestamp}
	_, raw, err := b.do(ctx, doing, http.MethodPost, b.endpoints.RegisterTask(id.AgentRuntimeID), biscuitHeader(biscuit), body)
	if err != nil {
		return Task{}, err
	}
	task, err := parseTaskAnswer(id.Key, raw)
	if err != nil {
		return Task{}, fmt.Errorf("%s: %w", doing, err)
	}
	return Task{id.AgentRuntimeID, task}, nil
}

// parseTaskAnswer reads a task's id in any of the forms that backends use.
func parseTaskAnswer(key *Key, raw []byte) (string, error) {
	var d decoder
	o := d.document("answer", raw)
	id := cmp.Or(o.string("task_id"), o.string("taskId"))
	sealed := cmp.Or(o.string("encrypted_task_id"), o.string("encryptedTaskId"))
	if d.err != nil {
		return "", d.err
	}
	if id == "" && sealed != "" {
		var err error
		if id, err = key.OpenTaskID(sealed); err != nil {
			return "", err
		}
	}
	if id == "" {
		return "", errors.New("the answer holds no task id")
	}
	return id, checkID("task id", id)
}

func biscuitHeader(biscuit Secret) http.Header {
	if biscuit == "" {
		return http.Header{}
	}
	return http.Header{"X-Openai-Authorization": {biscuit.Reveal()}}
}

// refreshed is the answer to a refresh: what it holds replaces what is stored.
type refreshed struct {
	IDToken, AccessToken, RefreshToken Secret
}

// refresh exchanges a refresh token, which is spent by it. A refusal is an
// [*AnswerError].
func (b *Backend) refresh(ctx context.Context, token Secret) (_ refreshed, err error) {
	defer b.observe(OperationRefresh, &err)
	const doing = "refresh the access token"
	_, raw, err := b.do(ctx, doing, http.MethodPost, b.config.RefreshURL, http.Header{}, map[string]string{
		"client_id":     oauthClientID,
		"grant_type":    "refresh_token",
		"refresh_token": token.Reveal(),
	})
	if err != nil {
		return refreshed{}, err
	}
	r, err := parseRefreshAnswer(raw)
	if err != nil {
		return refreshed{}, fmt.Errorf("%s: %w", doing, err)
	}
	return r, nil
}

func parseRefreshAnswer(raw []byte) (refreshed, error) {
	var d decoder
	o := d.document("answer", raw)
	r := refreshed{
		IDToken:      Secret(o.string("id_token")),
		AccessToken:  Secret(o.string("access_token")),
		RefreshToken: Secret(o.string("refresh_token")),
	}
	switch {
	case d.err != nil:
		return refreshed{}, d.err
	case r.AccessToken == "":
		return refreshed{}, errors.New("the answer holds no access_token")
	case !headerSafe(r.AccessToken.Reveal()):
		return refreshed{}, errors.New("the answer's access_token cannot be sent in a header")
	}
	if r.IDToken != "" {
		if _, err := ParseClaims(r.IDToken.Reveal()); err != nil {
			return refreshed{}, fmt.Errorf("the answer's id_token: %w", err)
		}
	}
	return r, nil
}

// keySet returns the JSON Web Key Set that signs identities which are JWTs.
func (b *Backend) keySet(ctx context.Context) (_ []byte, err error) {
	defer b.observe(OperationKeySet, &err)
	base := NormalizeBaseURL(b.config.BaseURL)
	_, raw, err := b.do(ctx, "read the key set of agent identities", http.MethodGet, base+"/wham/agent-identities/jwks", http.Header{}, nil)
	return raw, err
}

// do sends one request and returns the answer's header and body. A status other
// than 2xx is an [*AnswerError].
func (b *Backend) do(ctx context.Context, doing, method, url string, header http.Header, body any) (http.Header, []byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, backendTimeout, errNoAnswer)
	defer cancel()
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", doing, err)
		}
		reader = bytes.NewReader(encoded)
		header.Set("Content-Type", "application/json")
	}
	request, err := http.NewRequestWithContext(ctx, method, url, reader)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", doing, err)
	}
	request.Header = header
	request.Header.Set("Accept", "application/json")
	response, err := b.config.Transport.RoundTrip(request) // no redirect is followed with a credential
	if err != nil {
		if cause := context.Cause(ctx); cause == errNoAnswer {
			err = cause
		}
		return nil, nil, fmt.Errorf("%s at %s: %w", doing, request.URL.Host, &unansweredError{err})
	}
	defer response.Body.Close()
	b.config.Clock.Observe(response.Header.Get("Date"))
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	switch {
	case response.StatusCode/100 != 2:
		asked := b.retryAfter(response)
		return nil, nil, &AnswerError{Doing: doing, Status: response.StatusCode, Code: errorCode(raw), RetryAfter: asked}
	case err != nil:
		return nil, nil, fmt.Errorf("%s: read the answer: %w", doing, err)
	case len(raw) > maxAnswer:
		return nil, nil, fmt.Errorf("%s: the answer is larger than %d MiB", doing, maxAnswer>>20)
	}
	return response.Header, raw, nil
}

// maxRetryAfter bounds what a backend may ask for.
const maxRetryAfter = time.Hour

// retryAfter returns how long a backend with too much to do asks to be left alone.
func (b *Backend) retryAfter(response *http.Response) time.Duration {
	if response.StatusCode != http.StatusTooManyRequests && response.StatusCode != http.StatusServiceUnavailable {
		return 0
	}
	value := response.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return min(time.Duration(seconds)*time.Second, maxRetryAfter)
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(b.config.Clock.Backend()), 0), maxRetryAfter)
}

// errorCode returns the code of an error in one of the forms that OpenAI's
// services use, if it looks like one.
func errorCode(raw []byte) string {
	var answer struct {
		Code  string          `json:"code"`
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(raw, &answer) != nil {
		return ""
	}
	code := answer.Code
	var nested struct {
		Code string `json:"code"`
	}
	if json.Unmarshal(answer.Error, &nested) == nil && nested.Code != "" {
		code = nested.Code
	} else if code == "" {
		_ = json.Unmarshal(answer.Error, &code)
	}
	// It goes into logs: no more than a word.
	if len(code) > 64 {
		return ""
	}
	for _, c := range []byte(code) {
		if c != '_' && c != '-' && c != '.' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return ""
		}
	}
	return code
}
