//go:build linux

package integration

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestCheckFix has agentproxy check --fix mend what is safe to mend. It says what it did,
// changes nothing besides, and has nothing left to do the next time.
func TestCheckFix(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.leaveStub(t)
	auth := string(p.login.AuthJSONWithIdentity("C"))
	p.add(t, "clients: {token_file: "+p.write(t, "token", "sesame", 0o644)+"}\naudit: {file: "+p.write(t, "audit.log", "{}\n", 0o666)+"}")
	p.chmod(t, p.stateDir, 0o777)
	told := p.write(t, filepath.Join(p.stateDir, "told"), "0123456789abcdef\n", 0o640)
	p.write(t, filepath.Join(p.stateDir, "run", "1", "bundle.pem"), "x", 0o644)
	p.write(t, filepath.Join(p.stateDir, "run", "1.lock"), "", 0o600)
	p.remove(t, filepath.Join(p.stateDir, "ca"))

	if r := p.judge(t); r.code != 2 || strings.Contains(r.stdout, "fixed") {
		t.Errorf("without --fix: %+v", r)
	}
	before := p.snapshot(t)
	kept := p.keeps()
	mended := p.judge(t, "--fix")
	if mended.code != 1 { // nobody is logged in
		t.Errorf("exit code %d", mended.code)
	}
	said := p.normal(mended.stdout)
	for _, want := range []string{
		"fixed    configuration   set the mode of DIR/token to 0600, which was 0644\n",
		"fixed    audit           set the mode of DIR/audit.log to 0644, which was 0666\n",
		"fixed    state           set the mode of DIR/state to 0755, which was 0777\n",
		"fixed    state           set the mode of DIR/state/told to 0600, which was 0640\n",
		"fixed    state           removed the files of 1 killed run\n",
		"fixed    Codex home      removed DIR/users-codex-home/auth.json, the placeholder of a killed run\n",
		"fixed    CA              made DIR/state/ca/ca.pem\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
	for _, line := range changes(before, p.snapshot(t)) {
		path, _, _ := strings.Cut(line[2:], " ")
		switch rel, _ := filepath.Rel(p.dir, path); {
		case rel == "token", rel == "audit.log", rel == "users-codex-home", rel == "users-codex-home/auth.json":
		case rel == "state", strings.HasPrefix(rel, "state/ca"), strings.HasPrefix(rel, "state/run"), rel == "state/told", strings.HasPrefix(rel, "state/homes"):
		default:
			t.Errorf("it has changed %s", line)
		}
	}
	if got := readFile(t, told); got != "0123456789abcdef\n" {
		t.Errorf("the file holds %q", got)
	}

	// A log-in keeps its content, whatever its mode.
	p.write(t, p.auth(), auth, 0o644)
	if r := p.judge(t, "--fix"); r.code != 0 || !strings.Contains(p.normal(r.stdout), "fixed    Codex home      set the mode of DIR/users-codex-home/auth.json to 0600, which was 0644\n") {
		t.Errorf("%+v", r)
	}
	if info, err := os.Stat(p.auth()); err != nil || info.Mode().Perm() != 0o600 || readFile(t, p.auth()) != auth {
		t.Errorf("auth.json: %v, %v", info, err)
	}
	before = p.snapshot(t)
	r := p.judge(t, "--fix")
	if strings.Contains(r.stdout, "fixed") || r.code != 0 {
		t.Errorf("there is something left to mend: %+v", r)
	}
	if lines := changes(before, p.snapshot(t)); len(lines) > 0 {
		t.Errorf("it has changed something:\n%s", strings.Join(lines, "\n"))
	}
	if n := p.keeps(); n != kept {
		t.Errorf("the backend was asked to change something: %v", n)
	}
}

// TestCheckFixForeignLink has a directory on the way to a file be a link of another user's, who
// may have it lead to any file: its mode stays as it is.
func TestCheckFixForeignLink(t *testing.T) {
	t.Parallel()
	if !needRoot(t) {
		return
	}
	p := newPatient(t)
	token := p.write(t, filepath.Join("real", "token"), "sesame", 0o644)
	link := filepath.Join(p.dir, "link")
	if err := os.Symlink("real", link); err != nil {
		t.Fatal(err)
	}
	p.add(t, "clients: {token_file: "+filepath.Join(link, "token")+"}")
	fixed := "set the mode of DIR/link/token"
	if err := os.Lchown(link, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	if r := p.judge(t, "--fix"); r.code != 2 || strings.Contains(p.normal(r.stdout), fixed) {
		t.Errorf("another's link: %+v", r)
	}
	if info, err := os.Stat(token); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.Lchown(link, 0, 0); err != nil {
		t.Fatal(err)
	}
	if r := p.judge(t, "--fix"); !strings.Contains(p.normal(r.stdout), fixed) {
		t.Errorf("root's link: %+v", r)
	}
}

// TestCheckTerminal reads agentproxy check in a terminal: marks in colour, and what to do on
// lines of its own. There is no colour with NO_COLOR, and words alone with TERM=dumb and
// elsewhere.
func TestCheckTerminal(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.chmod(t, p.codexHome, 0o777)
	colour := regexp.MustCompile(`\x1b\[[0-9;]*m`)
	show := func(env ...string) string {
		t.Helper()
		shown, program := openTerminal(t, 120, 40)
		cmd := p.checkCommand(t)
		cmd.Env = append(cmd.Env, env...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = program, program, program
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		program.Close()
		var text bytes.Buffer
		_, _ = text.ReadFrom(shown) // until the program has ended
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
			t.Errorf("it ended with %v", err)
		}
		return strings.ReplaceAll(text.String(), "\r\n", "\n")
	}
	marked := show("TERM=xterm-256color")
	for _, want := range []string{
		"\x1b[32m✓\x1b[0m configuration   ",
		"\x1b[33m!\x1b[0m shell           ",
		"\x1b[31m✗\x1b[0m Codex home      others may replace the log-in in ",
		"\n                  \x1b[1m→ chmod go-w " + p.codexHome + "\x1b[0m\n",
		"\n15 ok, 1 warning, 1 failed\n",
	} {
		if !strings.Contains(marked, want) {
			t.Errorf("no %q in\n%s", want, marked)
		}
	}
	plain := p.judge(t).stdout
	if got, want := show("TERM=xterm-256color", "NO_COLOR=1"), colour.ReplaceAllString(marked, ""); normalTimes(got) != normalTimes(want) {
		t.Errorf("with NO_COLOR it says\n%s\nwant\n%s", got, want)
	}
	if got := show("TERM=dumb"); normalTimes(got) != normalTimes(plain) {
		t.Errorf("with TERM=dumb it says\n%s\nwant\n%s", got, plain)
	}
	if strings.ContainsAny(plain, "\x1b✓✗→") {
		t.Errorf("elsewhere it says\n%s", plain)
	}
}

// normalTimes returns a text without the times in it.
func normalTimes(s string) string { return aTime.ReplaceAllString(s, "TIME") }
