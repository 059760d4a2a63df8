package admin

import (
	"net/http"
	"strings"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// guard returns a handler that passes on requests from those who may read the proxy's state.
// It never allows a web page to read a response (no CORS).
func guard(who access.Config, next http.Handler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		authorized := who.Token != "" && bearerIs(r, who.Token)
		if !authorized && !hasAddress(r, who) {
			refuse(w, http.StatusMisdirectedRequest, "ask by the address, or as localhost")
			return
		}
		if ofAnotherSite(r) {
			refuse(w, http.StatusForbidden, "not for web pages")
			return
		}
		if who.Users != nil {
			if err := who.Users.Check(r.Context()); err != nil {
				refuse(w, http.StatusForbidden, forOwnUser(err))
				return
			}
		}
		// The open port shows that the proxy runs. Probes of that need no secret.
		if who.Token != "" && !authorized && r.URL.Path != "/healthz" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			refuse(w, http.StatusUnauthorized, "send admin_token, as in Authorization: Bearer TOKEN")
			return
		}
		next.ServeHTTP(w, r)
	}
}

// hasAddress reports whether r names this server by an address or as localhost. A page
// that reaches it by DNS rebinding names its own host.
func hasAddress(r *http.Request, who access.Config) bool {
	if localguard.OverUnixSocket(r) {
		return true
	}
	addr, ok := localguard.HostAddr(r)
	return ok && (addr.IsLoopback() || who.Token != "")
}

// ofAnotherSite reports whether a browser sent r for a page of another site than this.
func ofAnotherSite(r *http.Request) bool {
	field, _ := localguard.ForeignPage(r.Header["Origin"], r.Header["Sec-Fetch-Site"], func(origin string) bool { return origin == "http://"+r.Host })
	return field != ""
}

// bearerIs reports whether r shows the token. It takes the same time for all wrong ones.
func bearerIs(r *http.Request, token string) bool {
	values := r.Header["Authorization"]
	if len(values) != 1 {
		return false
	}
	scheme, shown, _ := strings.Cut(values[0], " ")
	return strings.EqualFold(scheme, "Bearer") && localguard.TokenIs(strings.TrimSpace(shown), token)
}

// forOwnUser is what a process of another user is told, why being what is wrong with it.
// A browser of theirs may show it to any page, so it names nothing of ours.
func forOwnUser(why error) string {
	return why.Error() + ", and without a token this port serves its own user only; set admin_token"
}

func refuse(w http.ResponseWriter, status int, message string) {
	writeStatus(w, status, map[string]string{"status": "refused", "message": message})
}
