package chatgpttest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// deviceLifetime is how long a device code may be entered.
	deviceLifetime = 15 * time.Minute
	// deviceInterval is how often a client may ask whether it was.
	deviceInterval = 5 * time.Second

	deviceRedirect = "https://auth.openai.com/deviceauth/callback"
)

// A device waits for a person to enter its code, or has been answered.
type device struct {
	id, userCode string
	expires      time.Time
	asked        time.Time // when it last was, zero if never
	slow         int       // how often it still hears slow_down
	refused      string    // the error code that it is refused with, if any
	login        *Login    // nil: nobody has entered the code
}

// A deviceGrant is the authorization code of a device, which is good once.
type deviceGrant struct {
	login    *Login
	verifier string
}

// SetDeviceInterval sets the pause between two questions that devices are told to make,
// in whole seconds. It is five by default.
func (s *Server) SetDeviceInterval(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.deviceInterval = d
}

// SetDeviceCodes says whether device codes are enabled, as they are by default.
func (s *Server) SetDeviceCodes(enabled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.noDeviceCodes = !enabled
}

// ApproveDevice has a person of the account enter a device's code. It returns the
// log-in that the device gets, nil if nobody waits with this code.
func (s *Server) ApproveDevice(userCode string, a Account) *Login {
	a = *s.AddAccount(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.findDevice(userCode)
	if d == nil || d.refused != "" || !s.now().Before(d.expires) {
		return nil
	}
	d.login = &Login{Account: a, server: s}
	return d.login
}

// RefuseDevice has a person refuse a device, whose code is good no more. It reports
// whether one waits with this code.
func (s *Server) RefuseDevice(userCode string) bool { return s.endDevice(userCode, "access_denied") }

// ExpireDevice ends a device's code before its time.
func (s *Server) ExpireDevice(userCode string) bool { return s.endDevice(userCode, "expired_token") }

// SlowDevice answers the next n questions of a device with slow_down.
func (s *Server) SlowDevice(userCode string, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.findDevice(userCode)
	if d != nil {
		d.slow = n
	}
	return d != nil
}

func (s *Server) endDevice(userCode, code string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.findDevice(userCode)
	if d != nil {
		d.refused = code
	}
	return d != nil
}

// findDevice returns the device with a code, as a person may write it. The caller
// holds s.mu.
func (s *Server) findDevice(userCode string) *device {
	for _, d := range s.state.devices {
		if strings.EqualFold(d.userCode, strings.TrimSpace(userCode)) {
			return d
		}
	}
	return nil
}

// DeviceCodes returns the codes of the devices that nobody has answered, the one
// that came first first.
func (s *Server) DeviceCodes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var codes []string
	for _, d := range s.state.devices {
		if d.login == nil && d.refused == "" {
			codes = append(codes, d.userCode)
		}
	}
	return codes
}

// serveUserCode answers POST deviceauth/usercode.
func (s *Server) serveUserCode(w http.ResponseWriter, r *http.Request, x *exchange) {
	var req struct {
		ClientID string `json:"client_id"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the body is not JSON: "+err.Error())
		return
	}
	if req.ClientID != oauthClientID {
		writeError(w, http.StatusUnauthorized, "invalid_client", "unknown client_id")
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.noDeviceCodes {
		writeError(w, http.StatusNotFound, "not_found", "device codes are not enabled")
		return
	}
	code := rand.Text()
	d := &device{id: "deviceauth_" + rand.Text(), userCode: code[:4] + "-" + code[4:9], expires: x.now.Add(deviceLifetime)}
	s.state.devices = append(s.state.devices, d)
	writeJSON(w, http.StatusOK, map[string]any{
		"device_auth_id": d.id, "user_code": d.userCode,
		"interval":   strconv.Itoa(int(s.state.deviceInterval / time.Second)),
		"expires_at": d.expires.UTC().Format(time.RFC3339),
	})
}

// serveDeviceToken answers POST deviceauth/token, with which a device asks whether
// its code was entered.
func (s *Server) serveDeviceToken(w http.ResponseWriter, r *http.Request, x *exchange) {
	var req struct {
		ID       string `json:"device_auth_id"`
		UserCode string `json:"user_code"`
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", "the body is not JSON: "+err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.findDevice(req.UserCode)
	if d == nil || d.id != req.ID {
		writeError(w, http.StatusNotFound, "deviceauth_authorization_unknown", "no such device code")
		return
	}
	if !d.asked.IsZero() && x.now.Sub(d.asked) < s.state.deviceInterval {
		s.state.stats.EarlyDevicePolls++
	}
	d.asked = x.now
	switch {
	case d.slow > 0:
		d.slow--
		writeError(w, http.StatusForbidden, "slow_down", "ask less often")
	case d.refused != "":
		writeError(w, http.StatusForbidden, d.refused, "the device code is good no more")
	case !x.now.Before(d.expires):
		writeError(w, http.StatusForbidden, "expired_token", "the device code has expired")
	case d.login == nil:
		writeError(w, http.StatusForbidden, "deviceauth_authorization_pending", "nobody has entered the code yet")
	default:
		code, verifier := "ac_"+rand.Text(), rand.Text()+rand.Text()
		s.state.deviceGrants[code] = deviceGrant{d.login, verifier}
		d.refused = "expired_token" // it was good once
		challenge := sha256.Sum256([]byte(verifier))
		writeJSON(w, http.StatusOK, map[string]any{
			"authorization_code": code, "code_verifier": verifier,
			"code_challenge": base64.RawURLEncoding.EncodeToString(challenge[:]), // Codex wants it, too
		})
	}
}

// exchangeDeviceGrant answers the form of POST /oauth/token that exchanges an
// authorization code for tokens.
func (s *Server) exchangeDeviceGrant(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		writeError(w, http.StatusBadRequest, "invalid_request", err.Error())
		return
	}
	form := r.PostForm
	s.mu.Lock()
	defer s.mu.Unlock()
	grant, ok := s.state.deviceGrants[form.Get("code")]
	switch {
	case form.Get("client_id") != oauthClientID:
		writeError(w, http.StatusUnauthorized, "invalid_client", "unknown client_id")
	case form.Get("grant_type") != "authorization_code":
		writeError(w, http.StatusBadRequest, "unsupported_grant_type", "grant_type is not authorization_code")
	case !ok, form.Get("code_verifier") != grant.verifier, form.Get("redirect_uri") != deviceRedirect:
		writeError(w, http.StatusBadRequest, "invalid_grant", "the authorization code cannot be used")
	default:
		delete(s.state.deviceGrants, form.Get("code"))
		tokens := s.issue(grant.login)
		grant.login.Tokens = tokens
		s.state.stats.DeviceLogins++
		writeTokens(w, tokens)
	}
}

// serveDevicePage answers the page on which a person enters a device's code: for the
// stand-in's default account, and no password is asked for.
func (s *Server) serveDevicePage(w http.ResponseWriter, r *http.Request, _ *exchange) {
	if r.Method == http.MethodPost {
		code := r.PostFormValue("user_code")
		if done := r.PostFormValue("decision") == "refuse" && s.RefuseDevice(code); !done && s.ApproveDevice(code, Account{}) == nil {
			writeError(w, http.StatusNotFound, "deviceauth_authorization_unknown", "nobody waits with this code")
			return
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Write([]byte(`<!doctype html><title>Device code</title><form method="post"><input name="user_code" autofocus>` +
		`<button name="decision" value="approve">Approve</button><button name="decision" value="refuse">Refuse</button></form>` + "\n"))
}
