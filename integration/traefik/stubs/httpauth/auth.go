// Package auth takes the place of Traefik's fork of github.com/abbot/go-http-auth, which
// no registry has. It lets nobody in: deploy/traefik has no such middleware.
package auth

import "net/http"

// SecretProvider returns the secret of a user in a realm.
type SecretProvider func(user, realm string) string

// CheckSecret reports that no password is right.
func CheckSecret(_, _ string) bool { return false }

// BasicAuth refuses all.
type BasicAuth struct {
	Realm   string
	Secrets SecretProvider
}

// RequireAuth refuses a request.
func (*BasicAuth) RequireAuth(w http.ResponseWriter, _ *http.Request) { refuse(w) }

// DigestAuth refuses all.
type DigestAuth struct{}

// NewDigestAuthenticator returns a DigestAuth.
func NewDigestAuthenticator(string, SecretProvider) *DigestAuth { return &DigestAuth{} }

// CheckAuth finds nobody.
func (*DigestAuth) CheckAuth(*http.Request) (username string, info *string) { return "", nil }

// RequireAuth refuses a request.
func (*DigestAuth) RequireAuth(w http.ResponseWriter, _ *http.Request) { refuse(w) }

// RequireAuthStale refuses a request.
func (*DigestAuth) RequireAuthStale(w http.ResponseWriter, _ *http.Request) { refuse(w) }

// DigestAuthParams finds no parameters.
func DigestAuthParams(string) map[string]string { return nil }

func refuse(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }
