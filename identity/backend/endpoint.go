package backend

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
)

// NormalizeBaseURL returns the base URL of the backend that s stands for: without slashes
// at the end, without the paths of Codex's own settings (…/codex), and for ChatGPT itself
// with /backend-api. Of a URL that [CheckBaseURL] refuses only the end is trimmed.
func NormalizeBaseURL(s string) string {
	s = strings.TrimRight(s, "/")
	for _, suffix := range []string{"/wham/remote/control/server/enroll", "/wham/remote/control/server", "/codex"} {
		if base, ok := strings.CutSuffix(s, suffix); ok {
			s = strings.TrimRight(base, "/")
			break
		}
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || strings.Contains(u.Path, "/backend-api") {
		return s
	}
	if host := strings.ToLower(u.Hostname()); host == "chatgpt.com" || host == "chat.openai.com" {
		s += "/backend-api"
	}
	return s
}

// CheckBaseURL checks that s can be a base URL. It must be absolute and hold nothing but
// host and path. Its scheme must be https, or http on this machine, for credentials
// travel with it.
func CheckBaseURL(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		// The parser's error repeats the input, which may hold a password.
		return errors.New("base URL: not a URL; write it as https://chatgpt.com/backend-api")
	}
	switch {
	case u.User != nil:
		return fmt.Errorf("base URL %q: holds a user name; remove it", u.Redacted())
	case u.Hostname() == "":
		return fmt.Errorf("base URL %q: names no host; write it as https://chatgpt.com/backend-api", s)
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(s, "#"):
		return fmt.Errorf("base URL %q: holds a query or a fragment; remove it", s)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return fmt.Errorf("base URL %q: http sends credentials in clear; use https", s)
	case u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("base URL %q: scheme %q; use https", s, u.Scheme)
	}
	return nil
}

func loopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// Endpoints are the URLs at which an identity is registered.
type Endpoints struct {
	// RegisterAgent registers an agent (POST).
	RegisterAgent string
	// Biscuit returns the proof that a person is behind a registration (GET).
	Biscuit string

	agents string
}

// EndpointsFor returns the endpoints of the backend at base, normalized.
func EndpointsFor(base string) Endpoints {
	return endpointsBelow(NormalizeBaseURL(base))
}

// endpointsBelow returns the endpoints below base as it stands.
func endpointsBelow(base string) Endpoints {
	return Endpoints{
		RegisterAgent: base + "/v1/agent/register",
		Biscuit:       base + "/authenticate_app_v2",
		agents:        base + "/v1/agent/",
	}
}

// RegisterTask returns the URL that registers a task of an agent (POST).
func (e Endpoints) RegisterTask(runtimeID string) string {
	segment := url.PathEscape(runtimeID)
	if strings.Trim(segment, ".") == "" {
		segment = strings.ReplaceAll(segment, ".", "%2E") // "." and ".." are not names
	}
	return e.agents + segment + "/task/register"
}
