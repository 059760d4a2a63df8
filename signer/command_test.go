package signer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/contain"
)

// program is the program that the tests of [Command] run: this test binary. It
// returns the exit code.
func program(name string, args []string) int {
	switch name {
	case "print": // each run adds a line to the file, then prints its content
		log, err := os.OpenFile(args[0], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return 9
		}
		fmt.Fprintln(log, "ran")
		log.Close()
		output, err := os.ReadFile(args[1])
		if err != nil {
			return 9
		}
		os.Stdout.Write(output)
	case "huge":
		for range 1 << 10 {
			fmt.Print(strings.Repeat("sekret", 1<<10))
		}
	case "fail":
		fmt.Println("sekret-out")
		fmt.Fprintln(os.Stderr, "sekret-err")
		return 3
	case "hang": // until the test hangs up, then print what it said
		conn, err := net.Dial("tcp", args[0])
		if err != nil {
			return 9
		}
		_, _ = io.Copy(os.Stdout, conn)
	}
	return 0
}

func programArgv(name string, args ...string) []string {
	return append([]string{os.Args[0], "program", name}, args...)
}

// printer is a program that prints what is in a file, and counts its runs.
type printer struct {
	t           *testing.T
	log, output string
}

func newPrinter(t *testing.T, output string) *printer {
	dir := t.TempDir()
	p := &printer{t, filepath.Join(dir, "log"), filepath.Join(dir, "output")}
	p.print(output)
	return p
}

func (p *printer) argv() []string      { return programArgv("print", p.log, p.output) }
func (p *printer) print(output string) { write(p.t, p.output, output) }

func (p *printer) wantRuns(want int) {
	p.t.Helper()
	log, _ := os.ReadFile(p.log)
	if got := strings.Count(string(log), "\n"); got != want {
		p.t.Errorf("the program ran %d times, want %d", got, want)
	}
}

func TestCommandOutput(t *testing.T) {
	t.Parallel()
	hour := start.Add(time.Hour)
	token := jwt(t, map[string]any{"exp": hour.Unix(), "https://api.openai.com/auth": map[string]any{"chatgpt_account_id": "ws-9"}})
	for name, test := range map[string]struct {
		output  string
		want    Authorization
		expires time.Time
	}{
		"line":        {"sekret\n", Authorization{Value: "Bearer sekret", Scheme: SchemeBearer}, time.Time{}},
		"JWT":         {"  " + token + "\r\n", Authorization{Value: identity.Secret("Bearer " + token), Scheme: SchemeBearer, AccountID: "ws-9"}, hour},
		"object":      {`{"authorization": "Bearer sekret", "expires_at": "2026-04-15T13:00:00Z"}`, Authorization{Value: "Bearer sekret", Scheme: SchemeBearer}, hour},
		"no expiry":   {`{"authorization": " Basic c2VrcmV0 "}` + "\n", Authorization{Value: "Basic c2VrcmV0", Scheme: SchemeOther}, time.Time{}},
		"JWT's own":   {`{"authorization": "bearer ` + token + `", "more": [1]}`, Authorization{Value: identity.Secret("bearer " + token), Scheme: SchemeBearer, AccountID: "ws-9"}, hour},
		"null expiry": {`{"authorization": "Bearer sekret", "expires_at": null}`, Authorization{Value: "Bearer sekret", Scheme: SchemeBearer}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			auth, expires, err := parseCommandOutput([]byte(test.output))
			if err != nil {
				t.Fatal(err)
			}
			if *auth != test.want || !expires.Equal(test.expires) {
				t.Errorf("got %q %+v until %v, want %q %+v until %v",
					auth.Value.Reveal(), auth, expires, test.want.Value.Reveal(), test.want, test.expires)
			}
		})
	}
}

func TestCommandRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ output, want string }{
		"silence":       {" \n", "printed nothing; it must print a token"},
		"two lines":     {"sekret-1\nsekret-2\n", "it must be one line of ASCII"},
		"a sentence":    {"Error: sekret is not in the store", "it has spaces; it must be a token alone"},
		"binary":        {"sekret\x00\x01\xff", "it must be one line of ASCII"},
		"half JSON":     {`{"authorization": "Bearer sekret`, `it is not the JSON {"authorization": "…"`},
		"two objects":   {`{"authorization": "Bearer sekret"}{}`, `it is not the JSON`},
		"wrong type":    {`{"authorization": ["Bearer sekret"]}`, `it is not the JSON`},
		"bad time":      {`{"authorization": "Bearer sekret", "expires_at": "sekret"}`, `it is not the JSON`},
		"time a number": {`{"authorization": "Bearer sekret", "expires_at": 1776254400}`, `it is not the JSON`},
		"no value":      {`{"token": "sekret"}`, `it is JSON without "authorization"`},
		"blank value":   {`{"authorization": " "}`, `it is JSON without "authorization"`},
		"newline":       {`{"authorization": "Bearer sekret\nX: y"}`, "it must be one line of ASCII"},
		"placeholder":   {placeholderToken(t), "it is agentproxy's own placeholder"},
		"expired":       {`{"authorization": "Bearer sekret", "expires_at": "2026-04-15T12:00:00Z"}`, "printed a credential that expired at 2026-04-15T12:00:00Z"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPrinter(t, test.output)
			s := NewCommand(p.argv(), newClock().now, nil)
			_, err := s.Sign(t.Context(), Request{})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range []string{test.want, "signer.command " + os.Args[0] + ": printed ", "; run it by hand to see what it says"} {
				wantMessage(t, err, CommandFailed, want, "sekret")
			}
			p.print("good\n") // a failure is not remembered
			mustSign(t, s, Request{})
			p.wantRuns(2)
		})
	}
}

// TestCommandIn has a program find what its arguments name in the directory that it is given.
func TestCommandIn(t *testing.T) {
	t.Parallel()
	p := newPrinter(t, "good")
	argv := programArgv("print", p.log, filepath.Base(p.output))
	if _, err := NewCommand(argv, newClock().now, nil).Sign(t.Context(), Request{}); err == nil {
		t.Fatal("it is found here")
	}
	if auth := mustSign(t, NewCommand(argv, newClock().now, nil).In(filepath.Dir(p.log)), Request{}); auth.Value != "Bearer good" {
		t.Errorf("%+v", auth)
	}
	p.wantRuns(2)
}

func TestCommandFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		argv []string
		want string
	}{
		"exit code": {programArgv("fail", "sekret"), "exit status 3; run it by hand"},
		"too much":  {programArgv("huge"), "printed more than 65536 bytes; run it by hand"},
		"missing":   {[]string{"no-such-program", "sekret"}, "signer.command no-such-program: executable file not found in $PATH; run"},
		"no such":   {[]string{"/no/such/program"}, "signer.command /no/such/program: no such file or directory; run"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantRefusal(t, NewCommand(test.argv, newClock().now, nil), CommandFailed, test.want, "sekret")
		})
	}
}

func TestCommandRunsAgainBeforeExpiry(t *testing.T) {
	t.Parallel()
	p, clock := newPrinter(t, `{"authorization": "Bearer one", "expires_at": "2026-04-15T12:10:00Z"}`), newClock()
	s := NewCommand(p.argv(), clock.now, nil)
	first := mustSign(t, s, Request{})
	clock.forward(10*time.Minute - commandMargin - time.Nanosecond)
	if again := mustSign(t, s, Request{Label: "another"}); again != first {
		t.Errorf("Sign = %+v before the renewal, want what it was", again)
	}
	p.wantRuns(1)

	p.print("two")
	clock.forward(time.Nanosecond)
	if next := mustSign(t, s, Request{}); next.Value != "Bearer two" {
		t.Errorf("Sign = %q after the renewal was due", next.Value.Reveal())
	}
	p.wantRuns(2)

	// One that does not say is used for a while.
	clock.forward(commandLifetime - time.Nanosecond)
	mustSign(t, s, Request{})
	p.wantRuns(2)
	clock.forward(time.Nanosecond)
	mustSign(t, s, Request{})
	p.wantRuns(3)
}

func TestCommandRunsOnceForManyAtOnce(t *testing.T) {
	t.Parallel()
	p := newPrinter(t, "sekret")
	s := NewCommand(p.argv(), newClock().now, nil)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if auth, err := s.Sign(t.Context(), Request{}); err != nil || auth.Value != "Bearer sekret" {
				t.Errorf("Sign = %+v, %v", auth, err)
			}
		})
	}
	group.Wait()
	p.wantRuns(1)
}

// hangingProgram returns the arguments of a program that runs until the test
// ends, and a channel that is told of every run.
func hangingProgram(t *testing.T) (argv []string, runs <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted := make(chan net.Conn, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { conn.Close() })
			accepted <- conn
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return programArgv("hang", l.Addr().String()), accepted
}

func TestCommandHangs(t *testing.T) {
	t.Parallel()
	argv, runs := hangingProgram(t)
	s := NewCommand(argv, newClock().now, nil)
	ctx, cancel := context.WithCancel(t.Context())
	refused := make(chan error, 1)
	go func() {
		_, err := s.Sign(ctx, Request{})
		refused <- err
	}()
	run := <-runs
	cancel()
	err := <-refused // the program still runs
	wantMessage(t, err, CommandFailed, "signer.command "+os.Args[0]+": context canceled")
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want it to wrap context.Canceled", err)
	}

	// Whoever comes next has the credential of that run, and starts no other.
	if _, err := io.WriteString(run, "sekret"); err != nil {
		t.Fatal(err)
	}
	run.Close()
	if next := mustSign(t, s, Request{}); next.Value != "Bearer sekret" {
		t.Errorf("Sign = %q", next.Value.Reveal())
	}
	if len(runs) > 0 {
		t.Error("the program ran twice")
	}
}

func TestCommandIsStopped(t *testing.T) {
	t.Parallel()
	argv, runs := hangingProgram(t)
	s := NewCommand(argv, newClock().now, nil)
	s.timeout = 100 * time.Millisecond
	wantRefusal(t, s, CommandFailed, "gave no credential within 100ms; run it by hand to see what it says")
	select {
	case run := <-runs:
		// The other end is closed, for the program was killed.
		if _, err := run.Read(make([]byte, 1)); err == nil {
			t.Error("the program still runs")
		}
	default: // it had not come so far
	}
}

// TestCommandIsClosed stops the program with its signer, although the request that began it
// has left, and begins it no more.
func TestCommandIsClosed(t *testing.T) {
	t.Parallel()
	argv, runs := hangingProgram(t)
	s := NewCommand(argv, newClock().now, nil)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = s.Sign(ctx, Request{})
	}()
	run := <-runs
	leave()
	<-left
	s.Close()
	if _, err := run.Read(make([]byte, 1)); err == nil {
		t.Error("the program still runs")
	}
	wantRefusal(t, s, CommandFailed, "was stopped")
	if len(runs) > 0 {
		t.Error("the program ran again")
	}
}

// panickingAccounts know no account.
type panickingAccounts struct{}

func (panickingAccounts) TokenAccount(context.Context, identity.Secret) (identity.Account, error) {
	panic("sekret")
}

// TestCommandPanics has the handling of what the program prints panic.
func TestCommandPanics(t *testing.T) {
	t.Parallel()
	p := newPrinter(t, "at-sekret")
	told := 0
	s := NewCommand(p.argv(), newClock().now, panickingAccounts{}).OnPanic(func(*contain.PanicError) { told++ })
	wantRefusal(t, s, CommandFailed, "a panic with a string")
	if told != 1 {
		t.Errorf("told of %d panics", told)
	}
	s.Close() // does not wait for ever
}
