//go:build linux

package integration

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// sweep collects the secrets that a proxy has used, and all that was written
// while it did.
type sweep struct {
	fixture *fixture
	secrets map[string]string // by what they are
	written map[string]string // by where
}

// know adds a secret, and what of it would be enough.
func (s *sweep) know(name, secret string) {
	if len(secret) < 16 {
		return
	}
	s.secrets[name] = secret
	if parts := strings.Split(secret, "."); len(parts) == 3 && strings.HasPrefix(secret, "eyJ") { // a JWT is worth its signature
		s.secrets[name+"'s signature"] = parts[2]
	}
}

// learn adds the secrets of the moment: the log-in's tokens, and what came to the
// backend in the way of credentials.
func (s *sweep) learn() {
	tokens := s.fixture.login.Current()
	s.know("id token "+tokens.IDToken[len(tokens.IDToken)-6:], tokens.IDToken)
	s.know("access token "+tokens.AccessToken[len(tokens.AccessToken)-6:], tokens.AccessToken)
	s.know("refresh token "+tokens.RefreshToken, tokens.RefreshToken)
	for i, r := range s.fixture.backend.Requests() {
		_, credential, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		s.know(fmt.Sprintf("credential %d, %s", i, r.Path), credential)
		s.know(fmt.Sprintf("biscuit %d", i), r.Header.Get("X-Openai-Authorization"))
	}
}

// learnKey adds a private key, in the ways that it could be written.
func (s *sweep) learnKey(t *testing.T, pkcs8 string) {
	t.Helper()
	der, err := base64.StdEncoding.DecodeString(pkcs8)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		t.Fatal(err)
	}
	seed := key.(ed25519.PrivateKey).Seed()
	for name, form := range map[string]string{
		"in PKCS #8": pkcs8, "as base64url": base64.RawURLEncoding.EncodeToString(der), "raw": string(seed),
		"seed as base64": base64.RawStdEncoding.EncodeToString(seed), "seed as base64url": base64.RawURLEncoding.EncodeToString(seed),
		"seed as hex": hex.EncodeToString(seed), "seed as numbers": strings.Trim(fmt.Sprint(seed), "[]"),
	} {
		s.know("the agent's key "+name, form)
	}
}

// note adds what was written somewhere.
func (s *sweep) note(where, text string) { s.written[where] += text }

// agentproxy runs a command to its end, and notes what it prints but for what is
// meant to hold a secret.
func (s *sweep) agentproxy(t *testing.T, code int, secret string, args ...string) result {
	t.Helper()
	environ := append(baseEnv(t), "AGENTPROXY_LISTEN=127.0.0.1:8080")
	r := run(t, environ, agentproxy, args...)
	if r.code != code {
		t.Errorf("agentproxy %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	where := "agentproxy " + strings.Join(args[:min(2, len(args))], " ")
	s.note(where+": standard error", r.stderr)
	s.note(where+": standard output", strings.ReplaceAll(r.stdout, secret, ""))
	return r
}

// processes notes the arguments of all processes.
func (s *sweep) processes(t *testing.T) {
	t.Helper()
	paths, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(paths) == 0 {
		t.Fatal("no processes: ", err)
	}
	for _, path := range paths {
		line, _ := os.ReadFile(path) // it may have ended
		s.note("the arguments of a process", string(line)+"\n")
	}
}

// get asks for a URL and notes the whole answer.
func (s *sweep) get(t *testing.T, client *http.Client, url string, header http.Header) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header = header
	return s.do(client, request)
}

// do is get for any request.
func (s *sweep) do(client *http.Client, request *http.Request) int {
	response, err := client.Do(request)
	if err != nil {
		s.note("a client's error", err.Error())
		return 0
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body) // it may be cut short
	var head strings.Builder
	_ = response.Header.Write(&head) // memory does not fail
	_ = response.Trailer.Write(&head)
	s.note("an answer's header", head.String())
	s.note("an answer's body", string(body))
	return response.StatusCode
}

// files notes the files below dir that may hold no secret: all but those that are
// named, and those must be their owner's alone.
func (s *sweep) files(t *testing.T, dir string, holders ...string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		holds := slices.ContainsFunc(holders, func(pattern string) bool {
			match, err := filepath.Match(pattern, filepath.Base(path))
			return match && err == nil
		})
		if holds && info.Mode().Perm()&0o077 == 0 {
			return nil
		}
		s.note(path+", mode "+info.Mode().String(), readFile(t, path))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// found says which secrets were written where, without showing them.
func (s *sweep) found() []string {
	var all []string
	for where, text := range s.written {
		for name, secret := range s.secrets {
			if strings.Contains(text, secret) {
				all = append(all, where+" holds "+name)
			}
		}
	}
	slices.Sort(all)
	return all
}

// TestNoSecretAnywhere has a proxy do all that it can do, at the log level that
// says most, and then looks for every secret that it has used in everything that
// was written.
func TestNoSecretAnywhere(t *testing.T) {
	t.Parallel()
	const clientsToken = "clients-token-3f9c1b7e5a2d8046"
	hostile := newHostileServer(t)
	f := newLoginFixture(t, fixtureConfig{yaml: "clients: {token_file: TOKEN}\naudit: {file: AUDIT}\nsigner: {rules: [{path: /backend-api/wham/**, use: bearer}]}"})
	dir := filepath.Dir(f.config)
	tokenFile, auditFile, exported := filepath.Join(dir, "clients-token"), filepath.Join(dir, "audit.log"), filepath.Join(dir, "exported", "exported.json")
	if err := os.Mkdir(filepath.Dir(exported), 0o700); err != nil { // it is the user's to hide
		t.Fatal(err)
	}
	writeFile(t, tokenFile, []byte(clientsToken+"\n"))
	f.edit(t, "TOKEN", tokenFile, "AUDIT", auditFile, fmt.Sprintf(`"chat.openai.com:443": %q`, f.backend.Addr()), fmt.Sprintf(`"chat.openai.com:443": %q`, hostile.addr))
	roots := filepath.Join(dir, "upstream-ca.pem")
	writeFile(t, roots, append([]byte(readFile(t, roots)), hostile.certPEM...))

	s := &sweep{fixture: f, secrets: map[string]string{"the clients' token": clientsToken}, written: map[string]string{}}
	s.know("the clients' token in Basic", strings.TrimPrefix(basicPassword("agentproxy", clientsToken), "Basic "))
	s.learn()
	admin := f.adminOn(t)
	t.Run("use", func(t *testing.T) {
		p := f.serve(t)
		s.use(t, p, hostile)
		for _, path := range []string{"/", "/status.json", "/metrics", "/readyz", "/healthz", "/style.css"} {
			if status := s.get(t, http.DefaultClient, "http://"+admin+path, nil); status != http.StatusOK && path != "/readyz" {
				t.Errorf("the admin port's %s: status %d", path, status)
			}
		}
		if !strings.Contains(s.written["an answer's body"], "Refused lately") || !strings.Contains(s.written["an answer's body"], "agentproxy_refusals_total") {
			t.Error("the page and the metrics were not searched")
		}
	})
	s.note("the log of serve", f.log)
	if !strings.Contains(f.log, `"level":"debug"`) {
		t.Error("the log does not say what it could")
	}
	for name, config := range map[string]string{
		"two words":   "clients: {token: \"%s and more\"}",
		"twice":       "clients: {token: %s, token_file: /dev/null}",
		"a list":      "clients: {token: [%s]}",
		"another key": "clients: {tokn: %s}",
		"proxy":       "upstream: {proxy: \"socks4://user:%s@proxy.example\"}",
		"base URL":    "chatgpt: {base_url: \"https://user:%s@chatgpt.com/\"}",
		"no YAML":     "clients: {token: \"%s",
	} {
		path := filepath.Join(dir, "bad.yaml")
		writeFile(t, path, fmt.Appendf(nil, config, clientsToken))
		if r := s.agentproxy(t, 2, "", "serve", "--config", path); r.stderr == "" {
			t.Errorf("%s: no message", name)
		}
	}
	if err := os.Remove(filepath.Join(dir, "bad.yaml")); err != nil {
		t.Fatal(err)
	}
	s.commands(t, clientsToken, exported)
	s.learn()
	var record struct {
		AgentPrivateKey string `json:"agent_private_key"`
	}
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(f.stateDir, "identity.json"))), &record); err != nil {
		t.Fatal(err)
	}
	s.learnKey(t, record.AgentPrivateKey)
	s.files(t, dir, "identity.json*", "refresh.json", "auth.json", "exported.json", filepath.Base(tokenFile))
	s.note("the audit log", readFile(t, auditFile))

	for _, leak := range s.found() {
		t.Error(leak)
	}
	// The search is worth what it searches.
	if len(s.secrets) < 20 || len(s.written) < 20 || len(auditLines(t, auditFile)) < 10 {
		t.Errorf("%d secrets were looked for in %d places, with %d lines of audit", len(s.secrets), len(s.written), len(auditLines(t, auditFile)))
	}
	for _, name := range []string{"the agent's key raw", "biscuit", "refresh token", "credential"} {
		known := false
		for secret := range s.secrets {
			known = known || strings.HasPrefix(secret, name)
		}
		if !known {
			t.Errorf("%s was not looked for", name)
		}
	}
	s.written["a leak"] = "x" + record.AgentPrivateKey
	if len(s.found()) == 0 {
		t.Error("the search finds nothing at all")
	}
}

// use sends requests of all kinds through the proxy.
func (s *sweep) use(t *testing.T, p *proxy, hostile *hostileServer) {
	f := s.fixture
	h2 := p.client(t, "")
	h1 := p.client(t, "")
	h1.Transport.(*http.Transport).ForceAttemptHTTP2 = false
	ok := func(client *http.Client, path string) {
		t.Helper()
		if status := s.get(t, client, backendAPI+path, nil); status != http.StatusOK {
			t.Errorf("%s: status %d", path, status)
		}
		s.learn()
	}
	for _, client := range []*http.Client{h1, h2} {
		ok(client, "/codex/models?client_version=1")
		ok(client, "/wham/accounts/check")
		ok(client, "/test/trailers")
		ok(client, "/test/early-hints")
		ok(client, "/test/sse?n=3")
	}
	ctx, socket := p.dialWebSocket(t, "/backend-api/test/ws-echo", websocket.CompressionDisabled)
	if err := socket.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
		t.Error(err)
	}
	_ = socket.CloseNow()

	// Recoveries from 401, with a refresh that works and one that does not.
	f.backend.ForgetTasks()
	ok(h1, "/codex/models?client_version=2")
	f.backend.ForgetAccessTokens()
	ok(h2, "/wham/accounts/check?again")
	s.processes(t)

	// Refusals, some of them of requests that hold a secret in an odd place.
	token := s.secrets["the clients' token"]
	_, withToken, _ := strings.Cut(p.url(t).String(), "://")
	for _, connect := range []struct{ authority, credentials string }{
		{"chatgpt.com:443", ""}, {"chatgpt.com:443", "Basic " + token}, {"chatgpt.com:443", "Bearer " + token},
		{"chatgpt.com:443", basicPassword("agentproxy", token+"x")}, {"user:" + token + "@chatgpt.com:443", basicPassword("a", token)},
		{"other.example:443", basicPassword("a", token)}, {"chatgpt.com.:443", basicPassword("a", token)}, {"127.1:443", basicPassword("a", token)},
	} {
		s.note("an answer to CONNECT", p.refusedConnect(t, connect.authority, connect.credentials))
	}
	s.get(t, h1, "http://chatgpt.com/?token="+token, nil)
	s.get(t, h1, "http://"+withToken+"/", nil)
	s.get(t, h1, backendAPI+"/codex/models?token="+token, http.Header{"Authorization": {"Bearer " + token}, "Proxy-Authorization": {basicPassword("a", token)}})
	misdirected, err := http.NewRequestWithContext(t.Context(), http.MethodGet, backendAPI+"/codex/models", nil)
	if err != nil {
		t.Fatal(err)
	}
	misdirected.Host = "other.example"
	if status := s.do(h1, misdirected); status != http.StatusMisdirectedRequest {
		t.Errorf("misdirected: status %d", status)
	}
	s.get(t, h1, backendAPI+"/test/truncate", nil)
	s.get(t, h1, backendAPI+"/test/status/500", nil)
	for _, path := range []string{"/echo", "/unasked", "/broken", "/broken-header", "/goaway"} {
		s.get(t, h1, "https://chat.openai.com"+path, nil)
	}
	for _, credential := range hostile.seen() {
		s.know("a credential that the hostile server has seen", credential)
	}
	f.backend.RevokeRefreshTokens()
	f.backend.ForgetAccessTokens()
	s.get(t, h2, backendAPI+"/wham/accounts/check", nil)
	f.backend.ForgetAgents()
	s.get(t, h2, backendAPI+"/codex/models", nil)
	s.learn()
}

// commands runs what else there is to run.
func (s *sweep) commands(t *testing.T, clientsToken, exported string) {
	f := s.fixture
	f.login = f.backend.Login(chatgpttest.Account{})
	f.logIn(t, f.login)
	s.learn()
	config := []string{"--config", f.config}
	with := func(args ...string) []string { return append(args, config...) }
	s.agentproxy(t, 0, "", with("identity", "register")...)
	s.agentproxy(t, 0, "", with("identity", "show")...)
	s.agentproxy(t, 0, "", with("identity", "export", "--output", exported)...)
	s.agentproxy(t, 0, "", with("identity", "placeholder", "--output", filepath.Join(filepath.Dir(exported), "placeholder.json"))...)
	s.agentproxy(t, 0, "", with("check")...)
	s.agentproxy(t, 0, "", with("check", "--json")...)
	s.agentproxy(t, 0, "", with("ca", "show")...)
	s.agentproxy(t, 0, "", with("ca", "export")...)
	s.agentproxy(t, 0, "", "version")
	header := mustRun(t, baseEnv(t), agentproxy, with("sign")...)
	s.know("the header that sign printed", strings.TrimSpace(header))
	s.agentproxy(t, 0, "", "run", "--config", f.config, "--log", filepath.Join(filepath.Dir(exported), "run.log"), "--", "sh", "-c",
		`env; cat "$CODEX_HOME"/* "$CODEX_HOME"/../* /proc/[0-9]*/cmdline 2>/dev/null; curl -sS -D - `+backendAPI+`/codex/models`)
	s.agentproxy(t, 0, clientsToken, with("env")...)
	s.learn()
}

func basicPassword(user, password string) string {
	r := &http.Request{Header: http.Header{}}
	r.SetBasicAuth(user, password)
	return r.Header.Get("Authorization")
}

// refusedConnect sends a CONNECT that must be refused, and returns the answer.
func (p *proxy) refusedConnect(t *testing.T, authority, credentials string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", p.addr, rawTimeout)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(rawTimeout)); err != nil {
		t.Fatal(err)
	}
	if credentials != "" {
		credentials = "Proxy-Authorization: " + credentials + "\r\n"
	}
	writeString(t, conn, "CONNECT "+authority+" HTTP/1.1\r\nHost: "+authority+"\r\n"+credentials+"Connection: close\r\n\r\n")
	answer, _ := io.ReadAll(conn) // it may be cut
	if !strings.HasPrefix(string(answer), "HTTP/1.1 4") {
		t.Errorf("CONNECT %s: %.40q", authority, answer)
	}
	return string(answer)
}
