package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/standin"
	"github.com/agentproxy/agentproxy/integration/chatgpttest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"agentproxy": main,
		"untilterm":  untilTerm,
	})
}

// untilTerm is a program that says ready and runs until SIGTERM.
func untilTerm() {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fmt.Fprintln(os.Stderr, "ready")
	<-term
	fmt.Println("terminated")
	os.Exit(9)
}

// TestScript runs the terminal sessions of testdata/script. Beyond testscript's
// own commands they know
//
//	backend DIR           start a stand-in backend, write its files into DIR
//	fails CODE CMD…       run CMD, which must exit with CODE, print nothing,
//	                      and say why on one line
//	start NAME CMD…       start CMD, and go on when it has printed a line on
//	                      standard error; of agentproxy serve, $NAME is the
//	                      address that it listens on
//	terminate NAME CODE   send it SIGTERM; it must exit with CODE
//	get [-unix SOCKET] URL   print the status and body of an answer
//	holds-no-secret FILE AUTH   FILE must hold no secret of AUTH, an auth.json or
//	                      identity.json
func TestScript(t *testing.T) {
	t.Parallel()
	roots := systemRoots(t)
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, "home")
			env.Setenv("HOME", home)
			env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, "state"))
			env.Setenv("XDG_CONFIG_HOME", filepath.Join(env.WorkDir, "configs"))
			env.Setenv("SSL_CERT_FILE", roots)
			// Else, with the race detector, each program takes a second to end.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Values[processes{}] = map[string]*process{}
			return os.MkdirAll(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"backend":         startBackend,
			"fails":           fails,
			"start":           startProcess,
			"terminate":       terminate,
			"get":             get,
			"holds-no-secret": holdsNoSecret,
		},
	})
}

// systemRoots returns a file that stands for the system's root certificates, so
// that the tests need none.
func systemRoots(t *testing.T) string {
	t.Helper()
	server := chatgpttest.NewServer()
	defer server.Close()
	path := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(path, server.CertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func startBackend(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: backend DIR")
	}
	server, err := chatgpttest.NewServerWith(chatgpttest.Config{})
	ts.Check(err)
	ts.Defer(server.Close)
	_, err = standin.WriteHome(ts.MkAbs(args[0]), server, server.Addr())
	ts.Check(err)
}

func fails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	if code := exitCode(err); strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d (%v), want %s", code, err, args[0])
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("standard output is not empty: %q", out)
	}
	message := ts.ReadFile("stderr")
	if !strings.HasPrefix(message, "agentproxy: ") || strings.Count(message, "\n") != 1 || !strings.HasSuffix(message, "\n") {
		ts.Fatalf("standard error is not one line of agentproxy: %q", message)
	}
}

func exitCode(err error) int {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	if err != nil {
		return -1
	}
	return 0
}

// holdsNoSecret checks that a file, or stdout or stderr, holds none of the
// tokens and keys of an auth.json.
func holdsNoSecret(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: holds-no-secret FILE AUTH")
	}
	text := ts.ReadFile(args[0])
	for _, secret := range secretsOf(ts, ts.ReadFile(args[1])) {
		if strings.Contains(text, secret) {
			ts.Fatalf("%s holds a secret of %s: %s…", args[0], args[1], secret[:min(8, len(secret))])
		}
	}
}

// processes is the key of a script's running programs.
type processes struct{}

func started(ts *testscript.TestScript) map[string]*process {
	return ts.Value(processes{}).(map[string]*process)
}

// process is a program that runs while its script goes on.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr lineBuffer
	ended          chan struct{} // closed when err is set
	err            error
}

func startProcess(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME COMMAND...")
	}
	name := args[0]
	p := &process{cmd: exec.Command(args[1], args[2:]...), ended: make(chan struct{})}
	p.stdout.line, p.stderr.line = make(chan string, 1), make(chan string, 1)
	p.cmd.Dir = ts.MkAbs(".")
	p.cmd.Env = environOf(ts)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	ts.Check(p.cmd.Start())
	started(ts)[name] = p
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	ts.Defer(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	select {
	case line := <-p.stderr.line:
		ts.Logf("%s: %s", name, line)
		if _, rest, ok := strings.Cut(line, "listening on "); ok {
			address, _, _ := strings.Cut(rest, ",")
			ts.Setenv(name, address)
		}
	case <-p.ended:
		ts.Fatalf("%s: %v: %s", name, p.err, p.stderr.String())
	}
}

func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || started(ts)[args[0]] == nil {
		ts.Fatalf("usage: terminate NAME CODE")
	}
	p := started(ts)[args[0]]
	ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
	<-p.ended
	code := exitCode(p.err)
	fmt.Fprint(ts.Stdout(), p.stdout.String())
	fmt.Fprint(ts.Stderr(), p.stderr.String())
	if strconv.Itoa(code) != args[1] {
		ts.Fatalf("exit code %d, want %s: %s", code, args[1], p.stderr.String())
	}
}

// environOf is the script's environment, as exec gives it to programs.
func environOf(ts *testscript.TestScript) []string {
	ts.Check(ts.Exec("env"))
	return strings.Split(strings.TrimSpace(ts.ReadFile("stdout")), "\n")
}

// lineBuffer keeps what is written to it, and tells of the first line.
type lineBuffer struct {
	mu   sync.Mutex
	text strings.Builder
	told bool
	line chan string
}

func (b *lineBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Write(p)
	if line, _, ok := strings.Cut(b.text.String(), "\n"); ok && !b.told {
		b.told = true
		b.line <- line
	}
	return len(p), nil
}

func (b *lineBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
