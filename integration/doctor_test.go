//go:build linux

package integration

import (
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

var updateCheck = flag.Bool("update-check", false, "write testdata/check.txt anew; read every line of the difference")

// patient is an installation that agentproxy check is to judge: a home, a log-in, a
// configuration, a backend and a shell.
type patient struct {
	*fixture
	dir     string // that all is in
	home    string
	listen  string   // host:port of serve
	adminAt string   // host:port of its admin port
	env     []string // of the shell
	args    []string // of check, besides --config
	// wrap is what starts the program, and execs it; nil for nothing.
	wrap []string
	uid  uint32 // that check runs as, 0 for this test's own
	// cut are patterns and what stands for them in testdata.
	cut []string
}

// newPatient returns one that is well, but that no serve runs and the shell leads nowhere.
func newPatient(t *testing.T) *patient {
	t.Helper()
	f := newFixture(t, fixtureConfig{scope: defaultScope})
	dir := filepath.Dir(f.config)
	host := ownHost(t)
	p := &patient{fixture: f, dir: dir, home: filepath.Join(dir, "home"), listen: host + ":" + freePort(t, host, 8080), adminAt: host + ":" + freePort(t, host, 9080)}
	if err := os.Mkdir(p.home, 0o700); err != nil {
		t.Fatal(err)
	}
	f.edit(t, "listen: 127.0.0.1:0", "listen: "+p.listen, `admin: ""`, "admin: "+p.adminAt, "level: debug", "level: warn", "other_hosts: refuse\n", "")
	p.env = []string{"PATH=" + systemPath, "HOME=" + p.home, "TERM=dumb"}
	p.agentproxy(t, "env") // which makes the CA and the bundle
	return p
}

// agentproxy runs the program with the configuration, outside of the shell that is judged.
func (p *patient) agentproxy(t *testing.T, args ...string) string {
	t.Helper()
	if !slices.Contains(args, "--") {
		args = append(args, "--config", p.config)
	}
	return mustRun(t, []string{"PATH=" + systemPath, "HOME=" + p.home}, agentproxy, args...)
}

// lead has the shell lead to the proxy, by what agentproxy env prints.
func (p *patient) lead(t *testing.T) {
	t.Helper()
	for line := range strings.Lines(p.agentproxy(t, "env")) {
		name, value, err := parseExport(strings.TrimSuffix(line, "\n"))
		if err != nil {
			t.Fatal(err)
		}
		p.set(name, value)
	}
}

// set sets a variable of the shell.
func (p *patient) set(name, value string) {
	p.env = slices.DeleteFunc(p.env, func(entry string) bool { return strings.HasPrefix(entry, name+"=") })
	p.env = append(p.env, name+"="+value)
}

// add adds lines to the configuration.
func (p *patient) add(t *testing.T, lines string) {
	t.Helper()
	writeFile(t, p.config, []byte(readFile(t, p.config)+lines+"\n"))
}

// auth returns the path of the log-in.
func (p *patient) auth() string { return filepath.Join(p.codexHome, "auth.json") }

// write writes a file, with a mode.
func (p *patient) write(t *testing.T, path, content string, mode fs.FileMode) string {
	t.Helper()
	if !filepath.IsAbs(path) {
		path = filepath.Join(p.dir, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, path, []byte(content))
	p.chmod(t, path, mode)
	return path
}

func (p *patient) chmod(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// judge runs agentproxy check.
func (p *patient) judge(t *testing.T, args ...string) result {
	t.Helper()
	return runCommand(t, p.checkCommand(t, args...))
}

func (p *patient) checkCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	argv := slices.Concat(p.wrap, []string{agentproxy, "check", "--config", p.config}, p.args, args)
	cmd := command(t, p.env, argv[0], argv[1:]...)
	cmd.Dir = p.dir
	if p.uid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: p.uid, Gid: p.uid}
	}
	return cmd
}

// snapshot returns all files below the directory of the patient: names, modes, owners, times
// and contents.
func (p *patient) snapshot(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(p.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %s %d:%d %s", path, info.Mode(), owner.Uid, owner.Gid, info.ModTime().UTC().Format("15:04:05.000000000"))
		switch {
		case info.Mode().IsRegular():
			fmt.Fprintf(&b, " %q", readFile(t, path))
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %s", target)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// changes returns the lines that two snapshots do not share.
func changes(before, after string) (lines []string) {
	old, now := strings.Split(before, "\n"), strings.Split(after, "\n")
	for _, line := range old {
		if !slices.Contains(now, line) {
			lines = append(lines, "- "+line)
		}
	}
	for _, line := range now {
		if !slices.Contains(old, line) {
			lines = append(lines, "+ "+line)
		}
	}
	return lines
}

var (
	aTime    = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	aDate    = regexp.MustCompile(`\d{4}-\d\d-\d\d\b`)
	anAgent  = regexp.MustCompile(`agent-[A-Z2-7]{20,}`)
	aTask    = regexp.MustCompile(`task[-_][A-Za-z0-9-]{8,}`)
	aPID     = regexp.MustCompile(`process \d+`)
	anEvent  = regexp.MustCompile(`version \S+`)
	anOffset = regexp.MustCompile(`clock is \S+`)
	aServer  = regexp.MustCompile(`lookup chatgpt\.com[^;]*`)
)

// normal returns what check says, without what differs from run to run.
func (p *patient) normal(text string) string {
	host, port, _ := strings.Cut(p.listen, ":")
	pairs := append(slices.Clone(p.cut), p.backend.Addr(), "BACKEND", p.dir, "DIR", p.listen, "HOST:8080", p.adminAt, "HOST:9080", host, "HOST", "sport = :"+port, "sport = :8080")
	text = strings.NewReplacer(pairs...).Replace(text)
	for _, r := range []struct {
		what *regexp.Regexp
		with string
	}{{aTime, "TIME"}, {aDate, "DATE"}, {anAgent, "AGENT"}, {aTask, "TASK"}, {aPID, "process PID"}, {anEvent, "version V"}, {anOffset, "clock is OFFSET"}, {aServer, "lookup chatgpt.com: REASON"}} {
		text = r.what.ReplaceAllString(text, r.with)
	}
	return text
}

// TestCheckStates has agentproxy check judge an installation in each state of a table. What
// it says is in testdata/check.txt: all of the first state, and of each other what differs
// from that. Nothing changes by it, neither a file nor what the backend keeps, and every
// line that is not well has a command.
func TestCheckStates(t *testing.T) {
	t.Parallel()
	const file = "testdata/check.txt"
	want := make(map[string]string)
	if !*updateCheck {
		for section := range strings.SplitSeq(readFile(t, file), "\n# ") {
			name, said, _ := strings.Cut(section, "\n")
			want[strings.TrimPrefix(name, "# ")] = strings.TrimSpace(said)
		}
	}
	ordinary := slices.Concat(checkStates, checkStatesOfExchange)
	states := slices.Concat(ordinary, checkStatesOfRoot)
	if len(states) < 30 {
		t.Errorf("%d states", len(states))
	}
	if !needRoot(t) {
		states = ordinary
		for _, state := range checkStatesOfRoot {
			delete(want, state.title())
		}
	}
	got := make([]string, len(states))
	var base []string
	t.Run("states", func(t *testing.T) {
		for i, state := range states {
			if i == 0 { // the others are compared with it
				t.Run(state.name, func(t *testing.T) { base = strings.Split(state.run(t), "\n") })
				got[0] = strings.Join(base, "\n")
				continue
			}
			t.Run(state.name, func(t *testing.T) {
				t.Parallel()
				got[i] = differing(base, strings.Split(state.run(t), "\n"))
			})
		}
	})
	var all []string
	for i, state := range states {
		title := state.title()
		all = append(all, "# "+title+"\n"+got[i]+"\n")
		if _, ok := want[title]; !ok && !*updateCheck {
			t.Errorf("%s has no section %q", file, title)
		} else if !*updateCheck && want[title] != got[i] {
			t.Errorf("%s:\n%s\nwant\n%s", title, got[i], want[title])
		}
		delete(want, title)
	}
	for title := range want {
		t.Errorf("%s has a section %q, which is no state", file, title)
	}
	if *updateCheck {
		if err := os.WriteFile(file, []byte(strings.Join(all, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// checkState is a state of an installation, and the exit code of check.
type checkState struct {
	name    string
	code    int
	prepare func(t *testing.T, p *patient)
}

// ofMachine are lines about the machine of the test, and not about the state.
var ofMachine = regexp.MustCompile(`(?m)^.* can use the container engine at .*\n`)

// title returns the title of the state's section in testdata/check.txt.
func (s checkState) title() string { return fmt.Sprintf("%s: exit code %d", s.name, s.code) }

// run returns what check says in the state.
func (s checkState) run(t *testing.T) string {
	p := newPatient(t)
	if s.prepare != nil {
		s.prepare(t, p)
	}
	before, stats := p.snapshot(t), p.keeps()
	plain := p.judge(t)
	if lines := changes(before, p.snapshot(t)); len(lines) > 0 {
		t.Errorf("check has changed something:\n%s", strings.Join(lines, "\n"))
	}
	if now := p.keeps(); now != stats {
		t.Errorf("check has changed what the backend keeps: %+v, which was %+v", now, stats)
	}
	if plain.code != s.code {
		t.Errorf("exit code %d, want %d\n%s%s", plain.code, s.code, plain.stdout, plain.stderr)
	}
	if strings.Contains(plain.stderr, "goroutine ") {
		t.Errorf("check has panicked:\n%s", plain.stderr)
	}
	p.checkNoSecret(t, "what check says", plain.stdout+plain.stderr)
	p.checkForm(t, plain.stdout)
	said := p.normal(strings.TrimSpace(ofMachine.ReplaceAllString(plain.stdout, "")))
	t.Logf("\n%s%s", said, plain.stderr)
	return said
}

// keeps returns what the backend has been asked to change so far.
func (p *patient) keeps() [4]int {
	s := p.backend.Stats()
	return [4]int{s.Refreshes, s.AgentRegistrations, s.TaskRegistrations, s.Revocations}
}

// checkForm fails the test if a line has another form, or is not well and names no command.
func (p *patient) checkForm(t *testing.T, plain string) {
	t.Helper()
	form := regexp.MustCompile(`^(ok      |warning |failed  ) [^ ].{14} \S`)
	for line := range strings.Lines(plain) {
		if !form.MatchString(line) {
			t.Errorf("the line has another form: %q", line)
		}
	}
	var findings []struct{ Check, Status, Message, Remedy, Command string }
	if err := json.Unmarshal([]byte(p.judge(t, "--json").stdout), &findings); err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		follows := f.Check == "signed request" && (strings.HasPrefix(f.Message, "not tried") || strings.HasPrefix(f.Message, "it cannot be signed"))
		if f.Status != "ok" && f.Command == "" && !follows {
			t.Errorf("no command is named for %+v", f)
		}
		if strings.ContainsAny(f.Command, "\n") {
			t.Errorf("the command has lines: %q", f.Command)
		}
		if f.Command != "" {
			if r := run(t, []string{"PATH=" + systemPath}, "/bin/sh", "-n", "-c", f.Command); r.code != 0 {
				t.Errorf("a shell does not understand %q: %s", f.Command, r.stderr)
			}
		}
	}
}

// differing returns the lines of now that base does not have, and the names of checks that
// are in base alone.
func differing(base, now []string) string {
	checkOf := func(line string) string { return strings.TrimSpace(line[9:min(len(line), 24)]) }
	var lines []string
	seen := make(map[string]bool)
	for _, line := range now {
		seen[checkOf(line)] = true
		if !slices.Contains(base, line) {
			lines = append(lines, line)
		}
	}
	var missing []string
	for _, line := range base {
		if check := checkOf(line); !seen[check] {
			missing = append(missing, check)
			seen[check] = true
		}
	}
	if len(missing) > 0 {
		lines = append(lines, "nothing of "+strings.Join(missing, ", "))
	}
	return strings.Join(lines, "\n")
}
