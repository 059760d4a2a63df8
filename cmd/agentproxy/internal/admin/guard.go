package admin

import (
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// guard lets those through who may know how the proxy is. It never gives a
// web page leave to read an answer (no CORS).
type guard struct {
	who  access.Config
	next http.Handler
}

func newGuard(who access.Config, next http.Handler) http.Handler { return &guard{who, next} }

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

// hasAddress reports whether r names this server by an address or as localhost. A page
// whose own name was made to lead here (DNS rebinding) names it by that.
func (g *guard) hasAddress(r *http.Request) bool {
	if localguard.OverUnixSocket(r) {
		return true
	}
	addr, ok := localguard.HostAddr(r)
	return ok && (addr.IsLoopback() || g.who.Token != "")
}

// ofAnotherSite reports whether a browser sent r for a page of another site than this.
func ofAnotherSite(r *http.Request) bool {
	field, _ := localguard.ForeignPage(r.Header["Origin"], r.Header["Sec-Fetch-Site"], func(origin string) bool { return origin == "http://"+r.Host })
	return field != ""
}

// bearerIs reports whether r shows the token, in the same time for every wrong one.
func bearerIs(r *http.Request, token string) bool {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return false
	}
	scheme, shown, _ := strings.Cut(values[0], " ")
	return strings.EqualFold(scheme, "Bearer") && localguard.TokenIs(strings.TrimSpace(shown), token)
}

func refuse(w http.ResponseWriter, status int, message string) {
	writeStatus(w, status, map[string]string{"status": "refused", "message": message})
}
