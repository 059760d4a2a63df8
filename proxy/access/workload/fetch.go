package workload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

const (
	// fetchTimeout bounds the requests for an issuer's keys, both together.
	fetchTimeout = 5 * time.Second
	// maxAnswer bounds an issuer's answer, in bytes.
	maxAnswer = 256 << 10
	// maxCause bounds what is written down of an issuer's answer, in bytes.
	maxCause = 200
)

// fetcher fetches the keys of an issuer.
type fetcher struct {
	Issuer
	client *http.Client
	date   string // of the last answer
}

func newFetcher(i Issuer) *fetcher {
	f := &fetcher{Issuer: i}
	f.client = &http.Client{
		Transport: f,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the issuer leads elsewhere; name the URL of its keys in keys_url")
		},
	}
	return f
}

// keys returns the issuer's set of keys, not parsed yet.
func (f *fetcher) keys(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	at := f.KeysURL
	if at == "" {
		var err error
		if at, err = f.discover(ctx); err != nil {
			return nil, shortened(err)
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, shortened(err)
	}
	request.Header.Set("Accept", "application/jwk-set+json, application/json")
	response, err := f.client.Do(request)
	if err != nil {
		return nil, shortened(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %.40q", at, response.Status)
	}
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, shortened(fmt.Errorf("%s: %w", at, err))
	}
	return raw, nil
}

// discover returns the URL of the issuer's keys.
func (f *fetcher) discover(ctx context.Context) (string, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, f.client), f.URL)
	if err != nil {
		return "", err
	}
	var found struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&found); err != nil {
		return "", err
	}
	if u, err := url.Parse(found.Keys); err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", fmt.Errorf("%s names no https URL for its keys; set keys_url", f.URL)
	}
	return found.Keys, nil
}

// RoundTrip implements [http.RoundTripper]. It shows the token to those whom the
// configuration names and to nobody else, and bounds the answer.
func (f *fetcher) RoundTrip(r *http.Request) (*http.Response, error) {
	if f.TokenFile != "" && f.names(r.URL) {
		raw, err := safefile.Read(f.TokenFile, maxToken)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; name a file with a token in token_file", f.TokenFile, safefile.Cause(err))
		}
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(raw)))
	}
	response, err := f.Transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	f.date = response.Header.Get("Date")
	response.Body = &boundedBody{response.Body, maxAnswer}
	return response, nil
}

// names reports whether the configuration names the server of u.
func (f *fetcher) names(u *url.URL) bool {
	return slices.ContainsFunc([]string{f.URL, f.KeysURL}, func(s string) bool {
		named, err := url.Parse(s)
		return err == nil && s != "" && named.Scheme == u.Scheme && named.Host == u.Host
	})
}

// boundedBody fails if there is more than left bytes.
type boundedBody struct {
	io.ReadCloser
	left int
}

// Read implements [io.Reader].
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return n, err
}

// shortened returns err with no more of an issuer's words than a log should have.
func shortened(err error) error {
	if text := err.Error(); len(text) > maxCause {
		return &shortError{strings.ToValidUTF8(text[:maxCause], "") + "…", err}
	}
	return err
}

// shortError is an error in fewer words.
type shortError struct {
	text string
	err  error
}

// Error implements error.
func (e *shortError) Error() string { return e.text }

// Unwrap returns the error in all its words.
func (e *shortError) Unwrap() error { return e.err }
