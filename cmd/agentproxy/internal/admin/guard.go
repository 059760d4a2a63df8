package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
)

// guard lets those through who may know how the proxy is. It never gives a
// web page leave to read an answer (no CORS).
type guard struct {
	who  app.Access
	next http.Handler
}

func newGuard(who app.Access, next http.Handler) http.Handler { return &guard{who, next} }

// ServeHTTP implements [http.Handler].
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	authorized := g.who.Token != "" && bearerIs(r, g.who.Token)
	if !authorized && !g.hasAddress(r) {
		refuse(w, http.StatusMisdirectedRequest, "ask by the address, or as localhost")
		return
	}
	if ofAnotherSite(r) {
		refuse(w, http.StatusForbidden, "not for web pages")
		return
	}
	if g.who.Users != nil {
		if err := g.who.Users.Check(r.Context()); err != nil {
			refuse(w, http.StatusForbidden, err.Error()+", and without a token the admin port serves agentproxy's own user only; set admin_token")
			return
		}
	}
	// That it runs is seen from the open port, and those who watch it should not
	// need a secret for that.
	if g.who.Token != "" && !authorized && r.URL.Path != "/healthz" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuse(w, http.StatusUnauthorized, "send admin_token, as in Authorization: Bearer TOKEN")
		return
	}
	g.next.ServeHTTP(w, r)
}

// hasAddress reports whether r names this server by an address or as localhost.
// A page whose own name was made to lead here (DNS rebinding) names it by that.
func (g *guard) hasAddress(r *http.Request) bool {
	if _, ok := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); ok {
		return true // no browser gets there
	}
	host := (&url.URL{Host: r.Host}).Hostname()
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && (addr.IsLoopback() || g.who.Token != "")
}

// ofAnotherSite reports whether a browser sent r for a page of another site than
// this. "none" is what it says where the user typed the address.
func ofAnotherSite(r *http.Request) bool {
	for _, site := range r.Header["Sec-Fetch-Site"] {
		if site != "same-origin" && site != "none" {
			return true
		}
	}
	for _, origin := range r.Header["Origin"] {
		if origin != "http://"+r.Host {
			return true
		}
	}
	return false
}

// bearerIs takes the same time for every wrong token.
func bearerIs(r *http.Request, token string) bool {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return false
	}
	scheme, shown, _ := strings.Cut(values[0], " ")
	got, want := sha256.Sum256([]byte(strings.TrimSpace(shown))), sha256.Sum256([]byte(token))
	return strings.EqualFold(scheme, "Bearer") && subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

func refuse(w http.ResponseWriter, status int, message string) {
	writeStatus(w, status, map[string]string{"status": "refused", "message": message})
}
