package main

import (
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/internal/localguard"
)

// adminGuard lets those through who may know how the proxy is. It never gives a
// web page leave to read an answer (no CORS).
type adminGuard struct {
	who  entrance
	next http.Handler
}

func newAdminGuard(who entrance, next http.Handler) http.Handler { return &adminGuard{who, next} }

// ServeHTTP implements [http.Handler].
func (g *adminGuard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	authorized := g.who.token != "" && bearerIs(r, g.who.token)
	if !authorized && !g.hasAddress(r) {
		refuseAdmin(w, http.StatusMisdirectedRequest, "ask by the address, or as localhost")
		return
	}
	if ofAnotherSite(r) {
		refuseAdmin(w, http.StatusForbidden, "not for web pages")
		return
	}
	if g.who.users != nil {
		if err := g.who.users.Check(r.Context()); err != nil {
			refuseAdmin(w, http.StatusForbidden, err.Error()+", and without a token the admin port serves agentproxy's own user only; set admin_token")
			return
		}
	}
	// That it runs is seen from the open port, and those who watch it should not
	// need a secret for that.
	if g.who.token != "" && !authorized && r.URL.Path != "/healthz" {
		w.Header().Set("WWW-Authenticate", "Bearer")
		refuseAdmin(w, http.StatusUnauthorized, "send admin_token, as in Authorization: Bearer TOKEN")
		return
	}
	g.next.ServeHTTP(w, r)
}

// hasAddress reports whether r names this server by an address or as localhost.
// A page whose own name was made to lead here (DNS rebinding) names it by that.
func (g *adminGuard) hasAddress(r *http.Request) bool {
	if localguard.OverUnixSocket(r) {
		return true
	}
	addr, ok := localguard.HostAddr(r)
	return ok && (addr.IsLoopback() || g.who.token != "")
}

// ofAnotherSite reports whether a browser sent r for a page of another site than
// this. "none" is what it says where the user typed the address.
func ofAnotherSite(r *http.Request) bool {
	field, _ := localguard.ForeignPage(r.Header["Origin"], r.Header["Sec-Fetch-Site"], func(origin string) bool { return origin == "http://"+r.Host })
	return field != ""
}

// bearerIs takes the same time for every wrong token.
func bearerIs(r *http.Request, token string) bool {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return false
	}
	scheme, shown, _ := strings.Cut(values[0], " ")
	return strings.EqualFold(scheme, "Bearer") && localguard.TokenIs(strings.TrimSpace(shown), token)
}

func refuseAdmin(w http.ResponseWriter, status int, message string) {
	writeStatus(w, status, map[string]string{"status": "refused", "message": message})
}
