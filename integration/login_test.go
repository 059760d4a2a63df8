//go:build linux

package integration

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

// A person uses agentproxy with a log-in of its own, beside a Codex that is logged in
// to another account.
type person struct {
	*fixture
	env    []string
	codexs string // Codex's auth.json
}

// newPerson returns a person whose Codex is logged in. Keys of identity may be set
// besides.
func newPerson(t *testing.T, identity string) *person {
	t.Helper()
	f := newFixture(t, fixtureConfig{})
	f.backend.SetDeviceInterval(time.Second)
	p := &person{fixture: f, env: baseEnv(t), codexs: string(f.login.AuthJSON())}
	for _, entry := range p.env {
		if home, ok := strings.CutPrefix(entry, "HOME="); ok {
			f.codexHome = filepath.Join(home, ".codex")
		}
	}
	if err := os.Mkdir(f.codexHome, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(f.codexHome, "auth.json"), []byte(p.codexs))
	var config []string
	for line := range strings.Lines(readFile(t, f.config)) {
		if strings.HasPrefix(line, "identity:") {
			line = fmt.Sprintf("identity: {%s}\n", identity)
		}
		config = append(config, line)
	}
	writeFile(t, f.config, []byte(strings.Join(config, "")))
	return p
}

// ownAuth is where the log-in is kept.
func (p *person) ownAuth() string { return filepath.Join(p.stateDir, "login", "auth.json") }

// agentproxy prepares a command of agentproxy.
func (p *person) agentproxy(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return command(t, p.env, agentproxy, append(args, "--config", p.config)...)
}

// beginLogin starts agentproxy login, and returns the code that it waits for.
func (p *person) beginLogin(t *testing.T, cmd *exec.Cmd) (code string, end func() result) {
	t.Helper()
	known := p.backend.DeviceCodes()
	done := make(chan result, 1)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		done <- result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
	}()
	eventually(t, "a device code", func() bool {
		select {
		case r := <-done:
			t.Fatalf("agentproxy login has ended: %+v", r)
		default:
		}
		for _, c := range p.backend.DeviceCodes() {
			if !slices.Contains(known, c) {
				code = c
			}
		}
		return code != ""
	})
	return code, func() result { return <-done }
}

// logIn logs an account in.
func (p *person) logIn(t *testing.T, a chatgpttest.Account) (*chatgpttest.Login, result) {
	t.Helper()
	code, end := p.beginLogin(t, p.agentproxy(t, "login"))
	login := p.backend.ApproveDevice(code, a)
	r := end()
	if r.code != 0 || login == nil {
		t.Fatalf("agentproxy login: %+v", r)
	}
	if !strings.Contains(r.stderr, "open https://auth.openai.com/codex/device in a browser and enter the code "+code+"\n") {
		t.Errorf("agentproxy login says %q", r.stderr)
	}
	return login, r
}

// show returns the workspace that agentproxy identity show names.
func (p *person) show(t *testing.T) string {
	t.Helper()
	r := runCommand(t, p.agentproxy(t, "identity", "show"))
	for line := range strings.Lines(r.stdout) {
		if rest, ok := strings.CutPrefix(line, "Workspace"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return strings.TrimSpace(r.stderr)
}

// checkCodexs fails the test if anything in the Codex home is not as it was.
func (p *person) checkCodexs(t *testing.T) {
	t.Helper()
	entries, err := os.ReadDir(p.codexHome)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || readFile(t, filepath.Join(p.codexHome, "auth.json")) != p.codexs {
		t.Errorf("the Codex home was touched: %v", entries)
	}
}

// own is an account other than Codex's.
var own = chatgpttest.Account{WorkspaceID: "workspace-own", UserID: "user-own", Email: "own@example.com"}

// TestLogin logs in and out while serve runs, which takes both up.
func TestLogin(t *testing.T) {
	t.Parallel()
	p := newPerson(t, "register: false")
	s := p.start(t, p.env, agentproxy, "serve", "--config", p.config)
	s.env = s.clientEnv(t)
	account := func() string {
		run(t, s.env, systemProgram(t, "curl"), "-sS", "https://chatgpt.com/backend-api/test/echo")
		all := p.backend.Requests()
		return all[len(all)-1].Auth.WorkspaceID
	}
	if got := account(); got != p.login.WorkspaceID {
		t.Fatalf("signed for %q at first", got)
	}

	login, r := p.logIn(t, own)
	if want := "Workspace    workspace-own\nUser         user-own\nEmail        own@example.com\nPlan         pro\n"; r.stdout != want {
		t.Errorf("agentproxy login prints %q, want %q", r.stdout, want)
	}
	for _, secret := range []string{login.AccessToken, login.RefreshToken, login.IDToken} {
		if strings.Contains(r.stdout+r.stderr, secret) {
			t.Error("agentproxy login prints a token")
		}
	}
	info, err := os.Stat(p.ownAuth())
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if info, err := os.Stat(filepath.Dir(p.ownAuth())); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if got := p.show(t); got != own.WorkspaceID {
		t.Errorf("agentproxy identity show: %q", got)
	}
	eventually(t, "requests that are signed for the new log-in", func() bool { return account() == own.WorkspaceID })

	// What serve renews is its own.
	p.backend.ForgetAccessTokens()
	eventually(t, "a renewed token", func() bool { return account() == own.WorkspaceID })
	if got := login.Current(); !strings.Contains(readFile(t, p.ownAuth()), got.RefreshToken) || got.RefreshToken == login.RefreshToken {
		t.Error("the renewed log-in is not kept")
	}
	if r := runCommand(t, p.agentproxy(t, "check")); r.code != 0 {
		t.Errorf("agentproxy check: %s%s", r.stdout, r.stderr)
	}

	out := runCommand(t, p.agentproxy(t, "logout"))
	if out.code != 0 || !strings.Contains(out.stderr, "agentproxy: logged out\n") || !strings.Contains(out.stderr, p.codexHome+" is used from now on") {
		t.Errorf("agentproxy logout: %+v", out)
	}
	if n := p.backend.Stats().Revocations; n != 1 {
		t.Errorf("%d refresh tokens were revoked", n)
	}
	if entries, _ := os.ReadDir(filepath.Dir(p.ownAuth())); slices.ContainsFunc(entries, func(e os.DirEntry) bool { return filepath.Ext(e.Name()) != ".lock" }) {
		t.Errorf("left behind: %v", entries)
	}
	if got := p.show(t); got != p.login.WorkspaceID {
		t.Errorf("agentproxy identity show after the log-out: %q", got)
	}
	if again := runCommand(t, p.agentproxy(t, "logout")); again.code != 1 || !strings.Contains(again.stderr, "there is no log-in of agentproxy login in ") {
		t.Errorf("a second time: %+v", again)
	}
	p.checkCodexs(t)
}

// TestLoginFails has nobody enter the code as it should be entered. What was there
// before stays.
func TestLoginFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		identity string
		then     func(t *testing.T, p *person, cmd *exec.Cmd, code string)
		says     string
	}{
		"refused": {then: func(t *testing.T, p *person, _ *exec.Cmd, code string) { p.backend.RefuseDevice(code) },
			says: "agentproxy: the device code was refused; run agentproxy login again if that was not meant\n"},
		"expired": {then: func(t *testing.T, p *person, _ *exec.Cmd, code string) { p.backend.ExpireDevice(code) },
			says: "agentproxy: the device code has expired; run agentproxy login again\n"},
		"late": {then: func(t *testing.T, p *person, _ *exec.Cmd, code string) { p.backend.SetClockOffset(16 * time.Minute) },
			says: "agentproxy: the device code has expired; run agentproxy login again\n"},
		"interrupted": {then: func(t *testing.T, p *person, cmd *exec.Cmd, _ string) { _ = cmd.Process.Signal(syscall.SIGINT) },
			says: "agentproxy: interrupted before the code was entered; nothing has changed\n"},
		"another workspace": {identity: "workspace_id: workspace-x", then: func(t *testing.T, p *person, _ *exec.Cmd, code string) { p.backend.ApproveDevice(code, own) },
			says: "agentproxy: you have logged in to workspace workspace-own, and identity.workspace_id is workspace-x; choose that one in the browser\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPerson(t, test.identity)
			cmd := p.agentproxy(t, "login")
			code, end := p.beginLogin(t, cmd)
			test.then(t, p, cmd, code)
			r := end()
			if r.code != 1 || r.stdout != "" || !strings.HasSuffix(r.stderr, test.says) {
				t.Errorf("%+v, want %q", r, test.says)
			}
			if _, err := os.Stat(p.ownAuth()); err == nil {
				t.Error("a log-in is kept")
			}
			if st := p.backend.Stats(); st.DeviceLogins != st.Revocations {
				t.Errorf("%d log-ins came of it, and %d are revoked", st.DeviceLogins, st.Revocations)
			}
			p.checkCodexs(t)
		})
	}
}

// TestLoginSlow has the server ask for patience.
func TestLoginSlow(t *testing.T) {
	t.Parallel()
	p := newPerson(t, "")
	code, end := p.beginLogin(t, p.agentproxy(t, "login"))
	p.backend.SlowDevice(code, 1)
	p.backend.ApproveDevice(code, own)
	if r := end(); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if st := p.backend.Stats(); st.DeviceLogins != 1 || st.EarlyDevicePolls != 0 {
		t.Errorf("%+v", st)
	}
}

// TestLoginsAtOnce has two people log in at once. One log-in stays, and the other is
// not good any more.
func TestLoginsAtOnce(t *testing.T) {
	t.Parallel()
	p := newPerson(t, "")
	first, endFirst := p.beginLogin(t, p.agentproxy(t, "login"))
	second, endSecond := p.beginLogin(t, p.agentproxy(t, "login"))
	logins := []*chatgpttest.Login{p.backend.ApproveDevice(first, own), p.backend.ApproveDevice(second, chatgpttest.Account{WorkspaceID: "workspace-2"})}
	for _, r := range []result{endFirst(), endSecond()} {
		if r.code != 0 {
			t.Errorf("%+v", r)
		}
	}
	if st := p.backend.Stats(); st.DeviceLogins != 2 || st.Revocations != 1 {
		t.Errorf("%+v", st)
	}
	kept := readFile(t, p.ownAuth())
	for _, l := range logins {
		if strings.Contains(kept, l.RefreshToken) != (p.show(t) == l.WorkspaceID) {
			t.Errorf("the log-in of %s: kept %v, shown %v", l.WorkspaceID, strings.Contains(kept, l.RefreshToken), p.show(t))
		}
	}
	p.checkCodexs(t)
}

// TestLoginInTerminal has the log-in made in a terminal, by somebody who is logged in
// already.
func TestLoginInTerminal(t *testing.T) {
	t.Parallel()
	p := newPerson(t, "")
	p.logIn(t, chatgpttest.Account{WorkspaceID: "workspace-former"})
	line := strings.Join([]string{quote(agentproxy), "login", "--config", quote(p.config)}, " ")
	code, end := p.beginLogin(t, command(t, append(p.env, "SHELL=/bin/sh"), systemProgram(t, "script"), "-qec", line, "/dev/null"))
	p.backend.ApproveDevice(code, own)
	r := end()
	for _, want := range []string{"workspace workspace-former is logged in already", "enter the code " + code, "Workspace    workspace-own"} {
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("exit code %d, want %q in\n%s", r.code, want, r.stdout)
		}
	}
	if n := p.backend.Stats().Revocations; n != 1 {
		t.Errorf("%d revocations, want that of the former", n)
	}
	// What is registered with it is not of the account that Codex is logged in to.
	if r := runCommand(t, p.agentproxy(t, "identity", "register")); r.code != 0 {
		t.Errorf("%+v", r)
	}
	if r := runCommand(t, p.agentproxy(t, "identity", "export", "--codex", "--yes")); r.code != 1 || !strings.Contains(r.stderr, "set identity.login: codex") {
		t.Errorf("an export into another's log-in: %+v", r)
	}
	p.checkCodexs(t)
}

// TestLoginInImage logs in in the image, and serves by that log-in alone.
func TestLoginInImage(t *testing.T) {
	t.Parallel()
	if !needRoot(t) {
		return
	}
	img, err := theImage()
	if err != nil {
		t.Fatal(err)
	}
	network := newNetwork(t)
	f, upstream := newInternet(t, network)
	f.backend.SetDeviceInterval(time.Second)
	config := t.TempDir()
	upstream.write(t, config, "# nothing of its own\n")
	c := newContainer(t, img, sandbox{network: network, uid: containerUser})
	c.bind(t, config, "/etc/agentproxy", true)
	c.env["AGENTPROXY_CONFIG"] = "/etc/agentproxy/config.yaml"
	c.bind(t, filepath.Join(c.box.root, "/var/lib/agentproxy"), "/var/lib/agentproxy", false)
	p := &person{fixture: f}
	argv := c.argv(t, append(slices.Clone(img.entrypoint), "login")...)
	code, end := p.beginLogin(t, command(t, c.environ(), argv[0], argv[1:]...))
	p.backend.ApproveDevice(code, own)
	if r := end(); r.code != 0 || !strings.Contains(r.stdout, own.WorkspaceID) {
		t.Fatalf("%+v", r)
	}
	f.start(t, c.environ(), c.argv(t, slices.Concat(img.entrypoint, img.cmd)...)...)
	for _, args := range [][]string{{"/agentproxy", "check"}, {"/agentproxy", "logout"}} {
		if r := c.run(t, args...); r.code != 0 {
			t.Errorf("%q: %+v", args, r)
		}
	}
	if n := f.backend.Stats().Revocations; n != 1 {
		t.Errorf("%d revocations", n)
	}
}

// TestLoginUnused: a log-in that would not be used is not asked for.
func TestLoginUnused(t *testing.T) {
	t.Parallel()
	for identity, says := range map[string]string{
		"codex_home: /somewhere": "set identity.login: own",
		"login: codex":           "set it to own",
		"file: /somewhere":       "identity.file is set",
	} {
		p := newPerson(t, identity)
		r := runCommand(t, p.agentproxy(t, "login"))
		if r.code != 1 || !strings.Contains(r.stderr, says) || len(p.backend.Requests()) > 0 {
			t.Errorf("%s: %+v", identity, r)
		}
	}
}

// TestLoginOfProfile gives a profile a log-in of its own, beside the common one.
func TestLoginOfProfile(t *testing.T) {
	t.Parallel()
	p := newPerson(t, "login: own")
	writeFile(t, p.config, []byte(readFile(t, p.config)+"clients: {token: x, trust_labels: true}\nprofiles: [{name: builds, labels: [\"b-*\"]}, {name: others, labels: [\"o-*\"]}, {name: none, labels: [\"*\"], refuse: true}]\n"))
	p.logIn(t, own)
	check := func(builds string) {
		t.Helper()
		for profile, want := range map[string]string{"builds": builds, "others": "workspace-own"} {
			if r := runCommand(t, p.agentproxy(t, "identity", "show", "--profile", profile)); !strings.Contains(r.stdout, want) {
				t.Errorf("profile %s: %s%s, want %s", profile, r.stdout, r.stderr, want)
			}
		}
	}
	check("workspace-own")
	code, end := p.beginLogin(t, p.agentproxy(t, "login", "--profile", "builds"))
	p.backend.ApproveDevice(code, chatgpttest.Account{WorkspaceID: "workspace-builds"})
	if r := end(); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	check("workspace-builds")
	if r := runCommand(t, p.agentproxy(t, "logout", "--profile", "builds")); r.code != 0 {
		t.Errorf("%+v", r)
	}
	check("workspace-own")
}

// TestLoginOfCodex holds the stand-in's device codes to what Codex itself asks for.
func TestLoginOfCodex(t *testing.T) {
	t.Parallel()
	p := newPerson(t, "")
	writeFile(t, p.config, []byte(strings.Replace(readFile(t, p.config), "other_hosts: refuse", "other_hosts: [auth.openai.com]", 1)))
	s := p.start(t, p.env, agentproxy, "serve", "--config", p.config)
	ca, home := filepath.Join(t.TempDir(), "ca.pem"), t.TempDir()
	writeFile(t, ca, p.backend.CertPEM())
	environ := append(s.clientEnv(t), "CODEX_HOME="+home, "CODEX_CA_CERTIFICATE="+ca)
	code, end := p.beginLogin(t, command(t, environ, newestCodex(t), "login", "--device-auth"))
	login := p.backend.ApproveDevice(code, own)
	if r := end(); r.code != 0 {
		t.Fatalf("%+v", r)
	}
	if got := readFile(t, filepath.Join(home, "auth.json")); !strings.Contains(got, login.RefreshToken) || !strings.Contains(got, own.WorkspaceID) {
		t.Errorf("Codex has written %d bytes without the log-in", len(got))
	}
	if st := p.backend.Stats(); st.DeviceLogins != 1 || st.EarlyDevicePolls != 0 {
		t.Errorf("%+v", st)
	}
	out := run(t, environ, newestCodex(t), "logout")
	if n := p.backend.Stats().Revocations; out.code != 0 || n != 1 {
		t.Errorf("codex logout: %+v, %d revocations", out, n)
	}
}
