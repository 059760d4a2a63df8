//go:build linux

package integration

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The examples of the documents are run as a reader would run them: the shell
// blocks (console, sh, bash) of one document, one after the other, in one shell
// and one directory, by a user who has logged in with Codex, has used agentproxy
// run once, and on whose machine chatgpt.com is the stand-in backend.
//
// In a console block, lines that begin with "$ " are commands, and what follows
// is what they print, where … stands for anything, lines or a part of one, and
// what differs from run to run is not compared. "$ cat FILE" makes a file that is not there yet. Commands
// that end in &, and agentproxy serve, are left running.
//
// A comment before a block says otherwise:
//
//	<!-- not run: REASON -->
//	<!-- run by TestName -->
//	<!-- run in the repository -->

// example is a shell block of a document.
type example struct {
	where    string // document and line
	comment  string // before the block
	commands []exampleCommand
}

type exampleCommand struct {
	line    string
	printed []string // what the document shows
}

var (
	fence          = regexp.MustCompile("^ *```(\\w*)$")
	exampleComment = regexp.MustCompile(`^<!-- (not run: \S.*|run by Test\w+|run in the repository) -->$`)
)

// examplesIn returns the shell blocks of a document.
func examplesIn(t *testing.T, path string) (found []*example) {
	t.Helper()
	var block *example
	inside, comment, number := "", "", 0
	for line := range strings.Lines(readFile(t, path)) {
		line = strings.TrimRight(line, "\n")
		number++
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && inside == "": // a block begins
			inside = m[1] + "."
			if m[1] == "console" || m[1] == "sh" || m[1] == "bash" {
				block = &example{where: fmt.Sprintf("%s:%d", path, number), comment: comment}
				found = append(found, block)
			}
		case m != nil:
			inside, block, comment = "", nil, ""
		case block != nil && inside == "console.":
			block.addConsole(line)
		case block != nil && strings.TrimSpace(line) != "":
			block.commands = append(block.commands, exampleCommand{line: line})
		case inside == "" && (strings.HasPrefix(line, "<!-- run") || strings.HasPrefix(line, "<!-- not")):
			if !exampleComment.MatchString(line) {
				t.Errorf("%s:%d: %s: no such comment is known", path, number, line)
			}
			comment = strings.TrimSuffix(strings.TrimPrefix(line, "<!-- "), " -->")
		case inside == "" && line != "":
			comment = ""
		}
	}
	return found
}

func (e *example) addConsole(line string) {
	command, isCommand := strings.CutPrefix(line, "$ ")
	last := len(e.commands) - 1
	switch {
	case isCommand && strings.HasPrefix(command, "#"): // says who does what follows
	case isCommand:
		e.commands = append(e.commands, exampleCommand{line: command})
	case last >= 0 && strings.HasSuffix(e.commands[last].line, `\`) && e.commands[last].printed == nil:
		e.commands[last].line = strings.TrimSuffix(e.commands[last].line, `\`) + strings.TrimPrefix(line, ">")
	case last >= 0:
		e.commands[last].printed = append(e.commands[last].printed, line)
	}
}

// TestExamplesInDocuments runs the examples of every document.
func TestExamplesInDocuments(t *testing.T) {
	t.Parallel()
	tests := testsIn(t, "..")
	total := 0
	for _, path := range documents(t) {
		var run []*example
		for _, e := range examplesIn(t, path) {
			if name, ok := strings.CutPrefix(e.comment, "run by "); ok {
				if tests[name] == "" {
					t.Errorf("%s is said to be run by %s, which is no test", e.where, name)
				}
				continue
			}
			if !strings.HasPrefix(e.comment, "not run") {
				run = append(run, e)
			}
		}
		if total += len(run); len(run) > 0 && needRoot(t) {
			t.Run(filepath.Base(path), func(t *testing.T) { newReader(t).run(t, run) })
		}
	}
	if total == 0 {
		t.Error("no document has an example that is run")
	}
}

// reader runs the examples of a document: with a network, a /tmp and
// a home of their own.
type reader struct{ dir string }

// chatgptAddress is what chatgpt.com is for a reader: an address of the public
// Internet, for others are refused.
const chatgptAddress = "104.18.32.47"

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{dir: t.TempDir()}
	for _, name := range []string{"bin", "commands", "printed"} {
		if err := os.Mkdir(filepath.Join(r.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	programs := ""
	for name, path := range map[string]string{"agentproxy": agentproxy, "codex": npmProgram(t, codexVersions[len(codexVersions)-1].path)} {
		writeFile(t, filepath.Join(r.dir, "bin", name), nil)
		programs += "mount --bind " + quote(path) + " bin/" + name + "\n"
	}
	writeFile(t, filepath.Join(r.dir, "hosts"), []byte("127.0.0.1 localhost proxy\n"+
		chatgptAddress+" chatgpt.com auth.openai.com api.chatgpt.com chat.openai.com\n"))
	writeFile(t, filepath.Join(r.dir, "setup"), []byte(programs+readerSetup))
	return r
}

// readerSetup begins in the reader's directory, with namespaces of its own. What
// an example writes to is gone when they are, or cannot be written to.
const readerSetup = `
ip link set lo up
ip route add local ` + chatgptAddress + `/32 dev lo
mount --bind hosts /etc/hosts
mount --rbind . /mnt
mkdir gocache && mount --bind "$GOCACHE" /mnt/gocache
mount -t tmpfs tmpfs /tmp
for dir in /home /run /srv /var/lib; do mount -t tmpfs tmpfs $dir; done
cd /home && mkdir me && cd me
export HOME=/home/me TERM=dumb PATH=/mnt/bin:` + systemPath + `
agentproxy backend --listen ` + chatgptAddress + `:443 --dir /mnt/backend >/mnt/backend.log 2>&1 &
for i in $(seq 6000); do [ -e /mnt/backend/agentproxy.yaml ] && break; sleep 0.05; done
mkdir -m 700 .codex && cp /mnt/backend/codex-home/auth.json .codex/
mkdir -p -m 700 /run/secrets && cp -r .codex /run/secrets/codex
export PROXY_TOKEN=6f1ed002ab5595859014ebf0951522d9
(umask 077 && echo $PROXY_TOKEN >/run/secrets/proxy-token)
cp /mnt/backend/access-token /mnt/backend/identity.jwt .
install -m 600 /mnt/backend/access-token /run/secrets/access-token
export AGENT_IDENTITY="$(cat /mnt/backend/identity.jwt)"
git init -q # as where agents work
mount --bind /mnt/backend/backend-ca.pem /etc/ssl/certs/ca-certificates.crt
mkdir -p "$GOCACHE" && mount --bind /mnt/gocache "$GOCACHE"
mount -o remount,bind,ro /
agentproxy run -- true
`

// left reports whether the command is left running.
func (c exampleCommand) left() bool {
	return strings.HasSuffix(c.line, " &") || strings.HasPrefix(c.line, "agentproxy serve")
}

// script returns what runs a command, with what it prints in a file of its own.
func (c exampleCommand) script(name string) string {
	line := strings.TrimSuffix(c.line, " &")
	if file, ok := strings.CutPrefix(line, "cat "); ok && !strings.Contains(file, " ") {
		return fmt.Sprintf("[ -e %[1]s ] || cp /mnt/commands/%[2]s.shown %[1]s; . /mnt/commands/%[2]s >/mnt/printed/%[2]s 2>&1; echo $? >/mnt/printed/%[2]s.code\n", file, name)
	}
	if c.left() {
		return fmt.Sprintf("( . /mnt/commands/%[1]s ) >/mnt/printed/%[1]s 2>&1 &\nfor i in $(seq 6000); do [ -s /mnt/printed/%[1]s ] && break; sleep 0.05; done; echo 0 >/mnt/printed/%[1]s.code\n", name)
	}
	return fmt.Sprintf(". /mnt/commands/%[1]s >/mnt/printed/%[1]s 2>&1 </dev/null; echo $? >/mnt/printed/%[1]s.code\n", name)
}

// run runs the examples and compares what they print.
func (r *reader) run(t *testing.T, examples []*example) {
	var script strings.Builder
	name := func(i, j int) string { return fmt.Sprintf("%d.%d", i, j) }
	for i, e := range examples {
		if e.comment == "run in the repository" {
			fmt.Fprintf(&script, "cd /mnt/repository; export PATH=$PATH:%s/bin GOPATH=%s GOPROXY=off\n", goEnv(t, "GOROOT"), goEnv(t, "GOPATH"))
			r.copyRepository(t)
		}
		for j, c := range e.commands {
			line, _ := strings.CutSuffix(c.line, " &")
			writeFile(t, filepath.Join(r.dir, "commands", name(i, j)), []byte(line+"\n"))
			writeFile(t, filepath.Join(r.dir, "commands", name(i, j)+".shown"), []byte(strings.Join(c.printed, "\n")+"\n"))
			script.WriteString(c.script(name(i, j)))
		}
		if e.comment == "run in the repository" {
			script.WriteString("cd ~\n")
		}
	}
	writeFile(t, filepath.Join(r.dir, "script"), []byte("set -e\n. ./setup\nset +e\n"+script.String()))
	cmd := command(t, []string{"PATH=" + systemPath + ":/usr/sbin:/sbin", "GOCACHE=" + goEnv(t, "GOCACHE")}, systemProgram(t, "unshare"),
		"--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "bash", "script")
	cmd.Dir = r.dir
	if r := runCommand(t, cmd); r.code != 0 {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	for i, e := range examples {
		for j, c := range e.commands {
			code := strings.TrimSpace(readFile(t, filepath.Join(r.dir, "printed", name(i, j)+".code")))
			printed := readFile(t, filepath.Join(r.dir, "printed", name(i, j)))
			if code != "0" {
				t.Errorf("%s: %s: exit code %q\n%s", e.where, c.line, code, printed)
			}
			if c.left() && c.printed != nil {
				c.printed = append(c.printed, "…")
			}
			if wrong := compareExample(c.printed, printed); wrong != "" {
				t.Errorf("%s: %s: %s\nit printed:\n%s", e.where, c.line, wrong, printed)
			}
		}
	}
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

func (r *reader) copyRepository(t *testing.T) {
	t.Helper()
	if err := os.Rename(copySources(t), filepath.Join(r.dir, "repository")); err != nil {
		t.Fatal(err)
	}
}

// volatile is what differs from run to run and from machine to machine.
var volatile = []struct {
	what *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`\b(\d+\.\d+\.\d+\.\d+)(, \d+\.\d+\.\d+\.\d+)*(:\d+)?`), "ADDRESS"},
	{regexp.MustCompile(`\b(agent|task)-[A-Z0-9]{20,}`), "$1-ID"},
	{regexp.MustCompile(`\b([0-9A-F]{2}:){31}[0-9A-F]{2}`), "FINGERPRINT"},
	{regexp.MustCompile(`ssh-ed25519 [A-Za-z0-9+/=]+`), "KEY"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\dZ)?`), "DATE"},
	{regexp.MustCompile(`\b\d+(\.\d+)?(ms|s)\b`), "TIME"},
	{regexp.MustCompile(`\s+`), " "},
}

// compareExample says which line of what a document shows was not printed. Lines
// that were printed besides must stand where the document has ….
func compareExample(shown []string, printed string) string {
	if len(shown) == 0 {
		return ""
	}
	plain := func(line string) string {
		for _, v := range volatile {
			line = v.what.ReplaceAllString(line, v.name)
		}
		return strings.TrimSpace(line)
	}
	var got []string
	for line := range strings.Lines(printed) {
		if line = plain(line); line != "" {
			got = append(got, line)
		}
	}
	anything := false
	for _, line := range shown {
		line = plain(line)
		switch {
		case line == "":
			continue
		case line == "…":
			anything = true
			continue
		}
		parts := strings.Split(line, "…") // which stands for anything in a line too
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		as := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		for anything && len(got) > 0 && !as.MatchString(got[0]) {
			got = got[1:]
		}
		if len(got) == 0 || !as.MatchString(got[0]) {
			return fmt.Sprintf("it does not print %q where the document shows it", line)
		}
		got, anything = got[1:], false
	}
	if len(got) > 0 && !anything {
		return fmt.Sprintf("it also prints %q", got[0])
	}
	return ""
}
