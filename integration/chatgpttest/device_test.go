package chatgpttest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"
)

const deviceURL = "https://auth.openai.com/api/accounts/deviceauth/"

// TestDeviceCode plays a device by itself, so that no client's mistake is shared.
func TestDeviceCode(t *testing.T) {
	s := newTestServer(t, Config{})
	begin := func() (id, code string) {
		t.Helper()
		var got map[string]string
		resp := do(t, s, "POST", deviceURL+"usercode", encodeJSON(map[string]string{"client_id": oauthClientID}))
		if err := json.Unmarshal(resp.body, &got); err != nil || resp.StatusCode != 200 || got["interval"] != "5" {
			t.Fatalf("%d %s", resp.StatusCode, resp.body)
		}
		return got["device_auth_id"], got["user_code"]
	}
	poll := func(id, code string) answer {
		return do(t, s, "POST", deviceURL+"token", encodeJSON(map[string]string{"device_auth_id": id, "user_code": code}))
	}
	exchange := func(grant, verifier, redirect string) answer {
		form := url.Values{
			"grant_type": {"authorization_code"}, "client_id": {oauthClientID},
			"code": {grant}, "code_verifier": {verifier}, "redirect_uri": {redirect},
		}
		return do(t, s, "POST", tokenURL, []byte(form.Encode()), "Content-Type", "application/x-www-form-urlencoded")
	}
	is := func(name string, resp answer, status int, code string) {
		t.Helper()
		if resp.StatusCode != status || resp.code(t) != code {
			t.Errorf("%s: %d %s, want %d %s", name, resp.StatusCode, resp.body, status, code)
		}
	}

	id, code := begin()
	is("pending", poll(id, code), 403, "deviceauth_authorization_pending")
	is("another's", poll("x", code), 404, "deviceauth_authorization_unknown")
	if s.Stats().EarlyDevicePolls != 0 {
		t.Error("the first question is early")
	}
	poll(id, code)
	if s.Stats().EarlyDevicePolls != 1 {
		t.Error("the second question is not early")
	}
	s.SlowDevice(code, 1)
	is("slow", poll(id, code), 403, "slow_down")
	if codes := s.DeviceCodes(); len(codes) != 1 || codes[0] != code {
		t.Errorf("%v", codes)
	}
	l := s.ApproveDevice(" "+strings.ToLower(code)+"\n", Account{WorkspaceID: "w"})
	var grant struct {
		Code      string `json:"authorization_code"`
		Verifier  string `json:"code_verifier"`
		Challenge string `json:"code_challenge"`
	}
	resp := poll(id, code)
	if err := json.Unmarshal(resp.body, &grant); err != nil || resp.StatusCode != 200 || l == nil {
		t.Fatalf("%d %s", resp.StatusCode, resp.body)
	}
	if sum := sha256.Sum256([]byte(grant.Verifier)); grant.Challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
		t.Errorf("%+v", grant)
	}
	is("a second time", poll(id, code), 403, "expired_token")
	is("another verifier", exchange(grant.Code, "x", deviceRedirect), 400, "invalid_grant")
	is("another redirect", exchange(grant.Code, grant.Verifier, "x"), 400, "invalid_grant")
	resp = exchange(grant.Code, grant.Verifier, deviceRedirect)
	if resp.StatusCode != 200 || !strings.Contains(string(resp.body), l.RefreshToken) || l.RefreshToken == "" {
		t.Errorf("%d %s", resp.StatusCode, resp.body)
	}
	is("exchanged twice", exchange(grant.Code, grant.Verifier, deviceRedirect), 400, "invalid_grant")

	for want, end := range map[string]func(string){
		"access_denied": func(code string) { s.RefuseDevice(code) },
		"expired_token": func(code string) { s.ExpireDevice(code) },
	} {
		id, code := begin()
		end(code)
		is(want, poll(id, code), 403, want)
		if s.ApproveDevice(code, Account{}) != nil {
			t.Errorf("%s: approved all the same", want)
		}
	}
	id, code = begin()
	s.SetClockOffset(deviceLifetime + time.Second)
	is("late", poll(id, code), 403, "expired_token")
	s.SetClockOffset(0)

	// The page on which a person enters a code.
	form := func(fields string) answer {
		return do(t, s, "POST", "https://auth.openai.com/codex/device", []byte(fields), "Content-Type", "application/x-www-form-urlencoded")
	}
	id, code = begin()
	if resp := form("user_code=" + code); resp.StatusCode != 200 || poll(id, code).StatusCode != 200 {
		t.Errorf("approved on the page: %d %s", resp.StatusCode, resp.body)
	}
	id, code = begin()
	form("decision=refuse&user_code=" + code)
	is("refused on the page", poll(id, code), 403, "access_denied")
	is("an unknown code on the page", form("user_code=x"), 404, "deviceauth_authorization_unknown")

	s.SetDeviceCodes(false)
	is("not enabled", do(t, s, "POST", deviceURL+"usercode", encodeJSON(map[string]string{"client_id": oauthClientID})), 404, "not_found")
}
