//go:build linux

package integration

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// checkStates are what agentproxy check is to judge. The first is well.
var checkStates = []checkState{
	{"all is there, and serve does not run", 0, nil},
	{"serve runs, and the shell leads to it", 0, func(t *testing.T, p *patient) { p.serve(t); p.lead(t) }},
	{"nothing is there yet", 1, func(t *testing.T, p *patient) { p.remove(t, p.stateDir, p.codexHome) }},

	// The log-in.
	{"no log-in", 1, func(t *testing.T, p *patient) { p.remove(t, p.auth()) }},
	{"no log-in, but the identity outlives it", 0, func(t *testing.T, p *patient) {
		p.logIn(t, p.login)
		p.runBriefly(t)
		p.agentproxy(t, "sign")
		p.remove(t, p.auth())
	}},
	{"a log-in with an API key", 1, func(t *testing.T, p *patient) {
		p.write(t, p.auth(), `{"auth_mode":"apikey","OPENAI_API_KEY":"sk-x"}`, 0o600)
	}},
	{"a log-in of agentproxy login", 0, func(t *testing.T, p *patient) {
		p.edit(t, fmt.Sprintf("codex_home: %q", p.codexHome), "login: own")
		p.set("CODEX_HOME", p.codexHome)
		p.write(t, filepath.Join(p.stateDir, "login", "auth.json"), string(p.login.AuthJSONWithIdentity("C")), 0o600)
		p.write(t, filepath.Join(p.stateDir, "login", "kept-in"), "state\n", 0o600)
	}},
	{"the access token has expired", 0, func(t *testing.T, p *patient) { p.expire(t) }},
	{"the access token has expired, and there is no other", 1, func(t *testing.T, p *patient) {
		p.expire(t)
		p.write(t, p.auth(), strings.ReplaceAll(readFile(t, p.auth()), p.login.RefreshToken, ""), 0o600)
	}},
	{"the log-in has ended", 1, func(t *testing.T, p *patient) {
		p.expire(t)
		p.backend.RevokeRefreshTokens()
		if r := run(t, p.env, agentproxy, "sign", "--path", "/backend-api/codex/models", "--method", "GET", "--config", p.config); r.code == 0 {
			t.Error("the token was refreshed")
		}
	}},
	{"a placeholder in place of the log-in", 1, func(t *testing.T, p *patient) {
		p.write(t, p.auth(), p.agentproxy(t, "identity", "placeholder"), 0o600)
	}},
	{"the placeholder of a killed run", 1, func(t *testing.T, p *patient) { p.leaveStub(t) }},
	{"auth.json is not JSON", 1, func(t *testing.T, p *patient) { p.write(t, p.auth(), "{\n\"tokens\": {", 0o600) }},
	{"a workspace's access token", 0, func(t *testing.T, p *patient) {
		p.write(t, p.auth(), fmt.Sprintf(`{"auth_mode":"personalAccessToken","personal_access_token":%q}`, p.backend.WorkspaceToken(chatgpttest.Account{})), 0o600)
	}},
	{"signer.use is token", 0, func(t *testing.T, p *patient) {
		p.add(t, "signer: {use: token, token_env: ACCESS}")
		p.set("ACCESS", p.login.AccessToken)
		p.remove(t, p.auth())
	}},
	{"signer.use is token, and there is none", 1, func(t *testing.T, p *patient) {
		p.add(t, "signer: {use: token, token_env: ACCESS}")
	}},

	// The identity.
	{"no identity yet", 0, func(t *testing.T, p *patient) { p.logIn(t, p.login) }},
	{"no identity, and none may be registered", 0, func(t *testing.T, p *patient) {
		p.logIn(t, p.login)
		p.edit(t, "identity: {", "identity: {register: false, ")
	}},
	{"no identity, none may be registered, and nothing else signs", 1, func(t *testing.T, p *patient) {
		p.logIn(t, p.login)
		p.edit(t, "identity: {", "identity: {register: false, ")
		p.add(t, "signer: {use: agent-assertion}")
	}},
	{"no identity, and an expired token", 0, func(t *testing.T, p *patient) {
		p.expire(t)
		p.add(t, "signer: {use: agent-assertion}")
	}},
	{"an identity of another workspace", 0, func(t *testing.T, p *patient) {
		p.logIn(t, p.login)
		p.agentproxy(t, "identity", "register")
		p.logIn(t, p.backend.Login(chatgpttest.Account{WorkspaceID: "account-other", UserID: "user-other"}))
	}},
	{"the backend has forgotten the task", 0, func(t *testing.T, p *patient) {
		p.add(t, "signer: {use: agent-assertion}")
		p.edit(t, "identity: {", "identity: {protocol: backend, ")
		p.logIn(t, p.login)
		p.agentproxy(t, "sign", "--label", "")
		p.backend.ForgetTasks()
	}},

	// The Codex home.
	{"others may read auth.json", 1, func(t *testing.T, p *patient) { p.chmod(t, p.auth(), 0o644) }},
	{"others may write to the Codex home", 1, func(t *testing.T, p *patient) { p.chmod(t, p.codexHome, 0o777) }},
	{"auth.json is a link", 0, func(t *testing.T, p *patient) { p.link(t, true) }},
	{"auth.json is a link to nothing", 1, func(t *testing.T, p *patient) { p.link(t, false) }},
	{"Codex keeps its log-in in a keyring, and there is none", 1, func(t *testing.T, p *patient) {
		p.remove(t, p.auth())
		p.write(t, filepath.Join(p.codexHome, "config.toml"), "cli_auth_credentials_store = \"keyring\"\n", 0o600)
	}},
	{"Codex keeps its log-in in a keyring, beside auth.json", 0, func(t *testing.T, p *patient) {
		p.write(t, filepath.Join(p.codexHome, "config.toml"), "cli_auth_credentials_store = \"keyring\"\n", 0o600)
	}},
	{"Codex keeps no log-in", 1, func(t *testing.T, p *patient) {
		p.remove(t, p.auth())
		p.write(t, filepath.Join(p.codexHome, "config.toml"), "cli_auth_credentials_store = \"ephemeral\"\n", 0o600)
	}},
	{"config.toml is not TOML", 0, func(t *testing.T, p *patient) {
		p.write(t, filepath.Join(p.codexHome, "config.toml"), "a = b\n", 0o600)
	}},
	{"a .env sets a proxy", 0, func(t *testing.T, p *patient) {
		p.write(t, filepath.Join(p.codexHome, ".env"), "A=b\nhttps_proxy=http://proxy.example:3128\n", 0o600)
	}},
	{"a server of Codex runs without a proxy", 0, func(t *testing.T, p *patient) { p.startCodexServer(t) }},

	// The state directory, and files.
	{"others may write to the state directory", 1, func(t *testing.T, p *patient) { p.chmod(t, p.stateDir, 0o777) }},
	{"others may read a file in the state directory", 1, func(t *testing.T, p *patient) {
		p.logIn(t, p.login)
		p.agentproxy(t, "identity", "register")
		p.chmod(t, filepath.Join(p.stateDir, "identity.json"), 0o644)
	}},
	{"the state directory cannot be made", 1, func(t *testing.T, p *patient) {
		p.edit(t, fmt.Sprintf("state_dir: %q", p.stateDir), "state_dir: /dev/null/agentproxy")
	}},
	{"a killed run has left files", 0, func(t *testing.T, p *patient) {
		p.write(t, filepath.Join(p.stateDir, "run", "1", "bundle.pem"), "x", 0o644)
		p.write(t, filepath.Join(p.stateDir, "run", "1.lock"), "", 0o600)
	}},
	{"audit log and usage file are to be made", 0, func(t *testing.T, p *patient) {
		p.add(t, fmt.Sprintf("audit: {file: %q}\nusage: {file: %q}", p.dir+"/audit.log", p.dir+"/usage.log"))
	}},
	{"audit log and usage file cannot be made", 1, func(t *testing.T, p *patient) {
		p.add(t, fmt.Sprintf("audit: {file: %q}\nusage: {file: %q}", p.dir+"/no/audit.log", p.dir))
	}},
	{"others may write to the audit log", 1, func(t *testing.T, p *patient) {
		p.add(t, fmt.Sprintf("audit: {file: %q}", p.write(t, "audit.log", "{}\n", 0o666)))
	}},
	{"no CA yet", 0, func(t *testing.T, p *patient) { p.remove(t, filepath.Join(p.stateDir, "ca")) }},
	{"others may read the key of the CA", 1, func(t *testing.T, p *patient) {
		p.chmod(t, filepath.Join(p.stateDir, "ca", "ca-key.pem"), 0o644)
	}},

	// serve and its port.
	{"another program has the port", 1, func(t *testing.T, p *patient) {
		listener, err := net.Listen("tcp", p.listen)
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.NotFoundHandler()}
		go func() { _ = server.Serve(listener) }()
		t.Cleanup(func() { server.Close() })
	}},
	{"another program has the admin port", 1, func(t *testing.T, p *patient) {
		listener, err := net.Listen("tcp", p.adminAt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
	}},
	{"an agentproxy of another configuration has the port", 1, func(t *testing.T, p *patient) { p.serveOther(t, 0) }},
	{"serve runs without an admin port", 0, func(t *testing.T, p *patient) {
		p.edit(t, "admin: "+p.adminAt, `admin: ""`)
		p.serve(t)
	}},
	{"serve runs, and nobody is logged in", 1, func(t *testing.T, p *patient) { p.remove(t, p.auth()); p.serve(t) }},
	{"serve does not run, and the shell leads to it", 1, func(t *testing.T, p *patient) { p.lead(t) }},
	{"serve listens on a Unix socket", 0, func(t *testing.T, p *patient) {
		p.edit(t, "listen: "+p.listen, "listen: unix:"+p.dir+"/proxy.sock")
	}},

	// The shell.
	{"the shell leads to another proxy", 0, func(t *testing.T, p *patient) {
		p.serve(t)
		p.set("HTTPS_PROXY", "http://me:s3cret@proxy.example:3128")
	}},
	{"the shell leads to another proxy in part", 0, func(t *testing.T, p *patient) {
		p.serve(t)
		p.lead(t)
		p.set("https_proxy", "proxy.example:3128")
	}},
	{"the shell has HTTP_PROXY alone", 0, func(t *testing.T, p *patient) {
		p.serve(t)
		p.set("HTTP_PROXY", "http://"+p.listen)
	}},
	{"the shell names the proxy as https", 1, func(t *testing.T, p *patient) {
		p.serve(t)
		p.lead(t)
		p.set("HTTPS_PROXY", "https://"+p.listen)
	}},
	{"NO_PROXY leads past the proxy", 0, func(t *testing.T, p *patient) {
		p.serve(t)
		p.lead(t)
		p.set("NO_PROXY", "localhost,.com")
	}},
	{"the shell trusts no CA", 0, func(t *testing.T, p *patient) {
		p.serve(t)
		p.set("HTTPS_PROXY", "http://"+p.listen)
	}},
	{"the shell names a file of CAs that is not there", 0, func(t *testing.T, p *patient) {
		p.serve(t)
		p.lead(t)
		p.set("CURL_CA_BUNDLE", p.dir+"/missing.pem")
	}},
	{"the shell names a file of CAs without the proxy's", 0, func(t *testing.T, p *patient) {
		p.serve(t)
		p.lead(t)
		p.set("CURL_CA_BUNDLE", filepath.Join(p.dir, "upstream-ca.pem"))
	}},
	{"the shell shows no token", 1, func(t *testing.T, p *patient) {
		p.add(t, "clients: {token: sesame}")
		p.serve(t)
		p.lead(t)
		p.set("HTTPS_PROXY", "http://"+p.listen)
	}},
	{"the shell shows the token", 0, func(t *testing.T, p *patient) {
		p.add(t, "clients: {token: sesame}")
		p.serve(t)
		p.lead(t)
	}},
	{"the shell shows a token that was revoked", 1, func(t *testing.T, p *patient) {
		p.add(t, "clients: {issued: only}")
		p.start(t, baseEnv(t), agentproxy, "serve", "--config", p.config)
		token := strings.TrimSpace(p.agentproxy(t, "token", "issue", "--label", "build", "--ttl", "1h"))
		revoke := command(t, baseEnv(t), agentproxy, "token", "revoke", "-", "--config", p.config)
		revoke.Stdin = strings.NewReader(token)
		if r := runCommand(t, revoke); r.code != 0 {
			t.Fatalf("%+v", r)
		}
		p.set("HTTPS_PROXY", "http://build:"+token+"@"+p.listen)
		p.set("CODEX_CA_CERTIFICATE", filepath.Join(p.stateDir, "ca", "bundle.pem"))
	}},
	{"the shell holds an API key for Codex", 0, func(t *testing.T, p *patient) {
		p.serve(t)
		p.lead(t)
		p.set("CODEX_API_KEY", "sk-x")
	}},

	// The network and the backend.
	{"nobody answers at the backend", 1, func(t *testing.T, p *patient) { p.edit(t, p.backend.Addr(), p.closedPort(t)) }},
	{"another answers in the backend's name", 1, func(t *testing.T, p *patient) {
		other := chatgpttest.NewServer()
		t.Cleanup(other.Close)
		p.edit(t, p.backend.Addr(), other.Addr())
		p.cut = append(p.cut, other.Addr(), "OTHER")
	}},
	{"a proxy of the network leads to the backend", 0, func(t *testing.T, p *patient) {
		host, _ := connectProxy(t, p.backend.Addr())
		p.via(t, host)
	}},
	{"the proxy of the network is down", 1, func(t *testing.T, p *patient) { p.via(t, p.closedPort(t)) }},
	{"the proxy of the network wants a password", 1, func(t *testing.T, p *patient) {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Proxy-Authenticate", "Basic realm=company")
			w.WriteHeader(http.StatusProxyAuthRequired)
		}))
		t.Cleanup(server.Close)
		p.via(t, server.Listener.Addr().String())
	}},
	{"this clock is 3 minutes behind", 0, func(_ *testing.T, p *patient) { p.backend.SetClockOffset(3 * time.Minute) }},
	{"this clock is 3 minutes ahead", 0, func(_ *testing.T, p *patient) { p.backend.SetClockOffset(-3 * time.Minute) }},
	{"this clock is an hour behind", 1, func(_ *testing.T, p *patient) { p.backend.SetClockOffset(time.Hour) }},
	{"the backend is out of order", 0, func(_ *testing.T, p *patient) {
		p.backend.Inject(chatgpttest.Fault{Status: http.StatusServiceUnavailable})
	}},
	{"the backend refuses the token", 0, func(t *testing.T, p *patient) {
		p.logIn(t, p.login)
		p.agentproxy(t, "sign")
		p.backend.ForgetAccessTokens()
	}},
	{"the backend forbids everything", 1, func(_ *testing.T, p *patient) {
		p.backend.Inject(chatgpttest.Fault{Path: "/backend-api/*", Status: http.StatusForbidden})
	}},
	{"the allowance is used up", 0, func(_ *testing.T, p *patient) { p.backend.SetUsedPercent(100, 40) }},

	// Isolation.
	{"the kernel allows no namespaces", 0, func(t *testing.T, p *patient) { p.withoutNamespaces(t) }},
	{"the kernel allows no namespaces, and run.isolate is always", 1, func(t *testing.T, p *patient) {
		p.add(t, "run: {isolate: always}")
		p.withoutNamespaces(t)
	}},
	{"run.isolate is off", 0, func(t *testing.T, p *patient) { p.add(t, "run: {isolate: \"off\"}") }},

	// The configuration.
	{"the configuration has a key that there is not", 2, func(t *testing.T, p *patient) { p.add(t, "lisen: x") }},
	{"the configuration has two mistakes", 2, func(t *testing.T, p *patient) { p.add(t, "scope: {on_miss: perhaps}\nrun: {isolate: perhaps}") }},
	{"the configuration is not there", 2, func(t *testing.T, p *patient) { p.remove(t, p.config) }},
	{"the file of the token is not there", 2, func(t *testing.T, p *patient) {
		p.add(t, fmt.Sprintf("clients: {token_file: %q}", p.dir+"/token"))
	}},
	{"others may read the file of the token", 2, func(t *testing.T, p *patient) {
		p.add(t, fmt.Sprintf("clients: {token_file: %q}", p.write(t, "token", "sesame", 0o644)))
	}},
	{"there is no such profile", 2, func(_ *testing.T, p *patient) { p.args = []string{"--profile", "night"} }},
}

// checkStatesOfRoot are those that only root can make.
var checkStatesOfRoot = []checkState{
	{"auth.json cannot be read", 1, func(t *testing.T, p *patient) {
		p.chmod(t, p.auth(), 0)
		p.withoutRights(t)
	}},
	{"the state directory is read-only", 1, func(t *testing.T, p *patient) {
		p.mounted(t, `mount --bind "$STATE" "$STATE" && mount -o remount,ro,bind "$STATE"`)
	}},
	{"the disk is full", 1, func(t *testing.T, p *patient) {
		p.mounted(t, `cp -a "$STATE" /run/copy && mount -t tmpfs -o size=256k,mode=700 none "$STATE" && cp -a /run/copy/. "$STATE" && { umask 077; dd if=/dev/zero of="$STATE/filler" bs=4k 2>/dev/null; true; }`)
	}},
	{"the state directory is another user's", 0, func(t *testing.T, p *patient) {
		if err := os.Chown(p.stateDir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}},
	{"an agentproxy of another user has the port", 1, func(t *testing.T, p *patient) { p.serveOther(t, nobody) }},
	{"no name server", 1, func(t *testing.T, p *patient) {
		p.direct(t)
		p.wrap = []string{systemProgram(t, "unshare"), "--net", "sh", "-c", `PATH=/usr/sbin:/sbin:$PATH ip link set lo up && exec "$@"`, "sh"}
	}},
	{"no name server, and the shell names a proxy", 1, func(t *testing.T, p *patient) {
		p.direct(t)
		p.wrap = []string{systemProgram(t, "unshare"), "--net", "sh", "-c", `PATH=/usr/sbin:/sbin:$PATH ip link set lo up && exec "$@"`, "sh"}
		p.set("HTTPS_PROXY", "http://proxy.example:3128")
	}},
}

func (p *patient) remove(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}

// expire replaces the log-in by one whose access token has expired.
func (p *patient) expire(t *testing.T) {
	t.Helper()
	p.backend.SetTokenAge(48 * time.Hour)
	p.backend.SetTokenLifetime(24 * time.Hour)
	p.login = p.backend.Login(chatgpttest.Account{})
	p.logIn(t, p.login)
}

// link makes auth.json a link, to itself moved away if target is set, else to nothing.
func (p *patient) link(t *testing.T, target bool) {
	t.Helper()
	place := filepath.Join(p.dir, "elsewhere.json")
	if target {
		if err := os.Rename(p.auth(), place); err != nil {
			t.Fatal(err)
		}
	} else {
		p.remove(t, p.auth())
	}
	if err := os.Symlink(place, p.auth()); err != nil {
		t.Fatal(err)
	}
}

// runBriefly has agentproxy run a command that ends at once. It registers nothing: what a run
// that has ended was asking the backend for may yet arrive there.
func (p *patient) runBriefly(t *testing.T) {
	t.Helper()
	config := readFile(t, p.config)
	p.edit(t, "identity: {", "identity: {register: false, ")
	p.agentproxy(t, "run", "--config", p.config, "--", "true")
	writeFile(t, p.config, []byte(config))
	if n := p.backend.Count("*/register"); n > 0 {
		t.Errorf("a run that is over asked for %d registrations", n)
	}
}

// leaveStub does as a run that was killed while it held the log-in's place.
func (p *patient) leaveStub(t *testing.T) {
	t.Helper()
	placeholder := p.agentproxy(t, "identity", "placeholder")
	p.runBriefly(t)
	homes, err := filepath.Glob(filepath.Join(p.stateDir, "homes", "*"))
	if err != nil || len(homes) != 1 {
		t.Fatalf("%v, %v", homes, err)
	}
	p.write(t, filepath.Join(homes[0], "stub"), "", 0o600)
	p.write(t, p.auth(), placeholder, 0o600)
}

// withoutRights has check run without the right to read what it may not.
func (p *patient) withoutRights(t *testing.T) {
	p.wrap = []string{systemProgram(t, "setpriv"), "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"}
}

// mounted has check run where a script has mounted something. $STATE is the state directory.
func (p *patient) mounted(t *testing.T, script string) {
	p.wrap = []string{systemProgram(t, "unshare"), "--mount", "sh", "-c", "STATE=$1; shift; mount -t tmpfs none /run && " + script + ` && exec "$@"`, "sh", p.stateDir}
}

// withoutNamespaces has check run where nobody can make user namespaces.
func (p *patient) withoutNamespaces(t *testing.T) {
	p.wrap = []string{systemProgram(t, "unshare"), "--user", "--map-root-user", "sh", "-c", `echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"`, "sh"}
}

// startCodexServer starts a program that looks like Codex's background server.
func (p *patient) startCodexServer(t *testing.T) {
	t.Helper()
	script := p.write(t, "codex", "echo ready\nread line\n", 0o600)
	// Read by a shell, and not executed, which a script that was just written may be too busy for.
	cmd := exec.Command(systemProgram(t, "sh"), script, "app-server", "--listen", "unix://", "--managed-daemon")
	cmd.Env = append(baseEnv(t), "CODEX_HOME="+p.codexHome)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// serveOther starts an agentproxy with another configuration, as a user, where that of the
// patient would listen.
func (p *patient) serveOther(t *testing.T, uid uint32) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "agentproxy-other-") // which others may enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, int(uid), int(uid)); err != nil {
		t.Fatal(err)
	}
	program := copyProgram(t, dir)
	p.chmod(t, program, 0o755)
	p.chmod(t, dir, 0o755)
	cmd := exec.Command(program, "serve")
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + systemPath, "HOME=" + dir, "AGENTPROXY_STATE_DIR=" + filepath.Join(dir, "state"),
		"AGENTPROXY_LISTEN=" + p.listen, "AGENTPROXY_ADMIN=" + p.adminAt,
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	p.startCommand(t, cmd)
}

// direct has the backend be reached by its name.
func (p *patient) direct(t *testing.T) {
	t.Helper()
	config := readFile(t, p.config)
	from, to := strings.Index(config, "  connect_to:"), strings.Index(config, "  ca_file:")
	writeFile(t, p.config, []byte(config[:from]+config[to:]))
}

// via has the backend be reached through a proxy.
func (p *patient) via(t *testing.T, proxy string) {
	t.Helper()
	p.direct(t)
	p.edit(t, "upstream:\n", "upstream:\n  proxy: http://"+proxy+"\n")
	p.cut = append(p.cut, proxy, "PROXY")
}

// closedPort returns an address on which nobody listens.
func (p *patient) closedPort(t *testing.T) string {
	t.Helper()
	address := freeAddress(t)
	p.cut = append(p.cut, address, "CLOSED")
	return address
}
