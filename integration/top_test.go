//go:build linux

package integration

import (
	"fmt"
	"html"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// topIn starts agentproxy top in a terminal of its own.
func topIn(t *testing.T, f *fixture, columns, rows uint16, environ ...string) *ptyProgram {
	t.Helper()
	cmd := exec.Command(agentproxy, "top", "--config", f.config)
	cmd.Env = append(slices.DeleteFunc(baseEnv(t), func(entry string) bool { return strings.HasPrefix(entry, "TERM=") }), environ...)
	return startInTerminal(t, columns, rows, cmd)
}

// sgr is the control sequence that changes colours.
var sgr = regexp.MustCompile(`\x1b\[[0-9]+m`)

// screens returns what was on the screen, one frame after the other, without colours.
func (p *ptyProgram) screens() []string {
	return strings.Split(sgr.ReplaceAllString(p.text(), ""), "\x1b[H")[1:]
}

// onScreen waits until the latest frame is complete and fulfils a condition.
func (p *ptyProgram) onScreen(t *testing.T, what string, condition func(screen string) bool) {
	t.Helper()
	eventually(t, what, func() bool {
		screens := p.screens()
		return len(screens) > 0 && strings.Contains(screens[len(screens)-1], "q quit") && condition(screens[len(screens)-1])
	})
}

func has(words string) func(string) bool {
	return func(screen string) bool { return strings.Contains(screen, words) }
}

// TestTop works the live view by its keys while a stream runs, on a terminal that changes
// its size, and leaves the terminal as it was.
func TestTop(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	f.adminOn(t)
	p := f.serve(t)
	stream, err := p.client(t, "build-42").Get(backendAPI + "/test/sse?n=2&interval_ms=3600000&mark=" + clientsMark)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Body.Close()
	for i := range 5 {
		p.refusedConnect(t, fmt.Sprintf("other-%d.example:443", i), "")
	}
	top := topIn(t, f, 100, 16, "TERM=xterm-256color")
	top.onScreen(t, "the view", has("request    "))
	before := termios(t, top)
	for _, want := range []string{"agentproxy ", "✓ signing", "requests  ▁", "AgentAssertion", "1 request", "GET chatgpt.com/backend-api/test/sse"} {
		if screen := top.screens()[0]; !strings.Contains(screen, want) {
			t.Errorf("no %q on the screen: %q", want, screen)
		}
	}
	n := len(top.screens())
	eventually(t, "the view to be renewed", func() bool { return len(top.screens()) >= n+2 })
	if strings.Contains(top.text(), clientsMark) {
		t.Error("the view has a query")
	}

	top.press(t, "\x1b[B")
	top.onScreen(t, "the view to be scrolled", has("lines 2–"))
	top.press(t, "G")
	top.onScreen(t, "the end", has("other-0.example:443"))
	top.press(t, "\x1b[H")
	top.onScreen(t, "the beginning", has("lines 1–"))
	top.press(t, "p")
	top.onScreen(t, "a pause", has("PAUSED"))
	top.press(t, "p")
	top.onScreen(t, "the pause to end", func(screen string) bool { return !strings.Contains(screen, "PAUSED") })

	resize(t, top.shown, 60, 9)
	top.onScreen(t, "the smaller screen", func(screen string) bool { return strings.Contains(screen, "\x1b[9H") })
	for line := range strings.SplitSeq(strings.NewReplacer("\x1b[K", "", "\x1b[J", "", "\x1b[9H", "").Replace(top.screens()[len(top.screens())-1]), "\r\n") {
		if n := len([]rune(line)); n > 60 {
			t.Errorf("a line of %d columns on a screen of 60: %q", n, line)
		}
	}
	resize(t, top.shown, 120, 60)
	top.onScreen(t, "the larger screen", has("other-0.example:443"))

	top.press(t, "q")
	if err := top.wait(); err != nil {
		t.Errorf("after q: %v", err)
	}
	got := top.text()
	if !strings.HasPrefix(got, "\x1b[?1049h") || !strings.HasSuffix(got, "\x1b[?25h\x1b[?1049l") || strings.Count(got, "\x1b[?1049h") != 1 {
		t.Errorf("the terminal is not left as it was: %q", got)
	}
	if after := termios(t, top); after == before || after.Lflag&unix.ECHO == 0 || after.Lflag&unix.ICANON == 0 {
		t.Errorf("the terminal's mode is not what it was: %+v", after)
	}
}

func termios(t *testing.T, p *ptyProgram) unix.Termios {
	t.Helper()
	mode, err := unix.IoctlGetTermios(int(p.shown.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *mode
}

// TestTopEnds leaves the view by Ctrl-C, which a terminal sends as a key, and by signals.
func TestTopEnds(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	f.adminOn(t)
	f.serve(t)
	for name, end := range map[string]func(*ptyProgram){
		"Ctrl-C":  func(top *ptyProgram) { top.press(t, "\x03") },
		"SIGINT":  func(top *ptyProgram) { _ = top.cmd.Process.Signal(syscall.SIGINT) },
		"SIGTERM": func(top *ptyProgram) { _ = top.cmd.Process.Signal(syscall.SIGTERM) },
	} {
		top := topIn(t, f, 80, 24, "TERM=xterm")
		top.onScreen(t, "the view", has("PROFILE"))
		end(top)
		if err := top.wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !strings.HasSuffix(top.text(), "\x1b[?25h\x1b[?1049l") || termios(t, top).Lflag&unix.ECHO == 0 {
			t.Errorf("%s: the terminal is not left as it was", name)
		}
	}
}

// TestTopSuspended stops the view by Ctrl-Z, has a shell in its place, and goes on.
func TestTopSuspended(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	f.adminOn(t)
	f.serve(t)
	cmd := exec.Command(systemProgram(t, "bash"), "--norc", "-i")
	cmd.Env = append(baseEnv(t), "TERM=xterm", "PS1=$ ", "HISTFILE=")
	shell := startInTerminal(t, 100, 24, cmd)
	shell.press(t, fmt.Sprintf("%s top --config %s\n", agentproxy, f.config))
	shell.onScreen(t, "the view", has("PROFILE"))
	shell.press(t, "\x1a")
	eventually(t, "the shell", func() bool { return strings.Contains(shell.text(), "Stopped") })
	if mode := termios(t, shell); strings.Count(shell.text(), "\x1b[?1049l") != 1 || mode.Oflag&unix.OPOST == 0 {
		t.Errorf("the shell's terminal is not as it was: %+v", mode)
	}
	shell.press(t, "fg\n")
	eventually(t, "the view again", func() bool { return strings.Count(shell.text(), "\x1b[?1049h") == 2 })
	shell.onScreen(t, "the view", has("PROFILE"))
	shell.press(t, "q")
	eventually(t, "the end", func() bool { return strings.Count(shell.text(), "\x1b[?1049l") == 2 })
	shell.press(t, "exit\n")
	if err := shell.wait(); err != nil {
		t.Error(err)
	}
}

// TestTopOutlivesServe waits for a proxy that is restarted.
func TestTopOutlivesServe(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	f.adminOn(t)
	var top *ptyProgram
	t.Run("while it runs", func(inner *testing.T) {
		f.serve(inner) // which stops with this part
		top = topIn(t, f, 80, 24, "TERM=xterm")
		top.onScreen(inner, "the view", has("PROFILE"))
	})
	top.onScreen(t, "why there is nothing new", func(screen string) bool {
		return strings.Contains(screen, "does not answer") && strings.Contains(screen, "PROFILE")
	})
	f.serve(t)
	top.onScreen(t, "the proxy to be back", func(screen string) bool { return !strings.Contains(screen, "does not answer") })
	top.press(t, "q")
	if err := top.wait(); err != nil {
		t.Error(err)
	}
}

// TestTopPlain has the view printed once where nobody can scroll it, and without colours
// where nobody wants them.
func TestTopPlain(t *testing.T) {
	t.Parallel()
	f := newFixture(t, fixtureConfig{})
	f.adminOn(t)
	if r := run(t, baseEnv(t), agentproxy, "top", "--config", f.config); r.code != 1 || !strings.Contains(r.stderr, "is agentproxy serve running") {
		t.Errorf("without serve: %d %s", r.code, r.stderr)
	}
	f.serve(t)
	if r := run(t, append(baseEnv(t), "TERM=xterm"), agentproxy, "top", "--config", f.config); r.code != 0 || !strings.Contains(r.stdout, "PROFILE") || strings.Contains(r.stdout, "\x1b") {
		t.Errorf("to a pipe: %d %q", r.code, r.stdout)
	}
	for _, test := range []struct {
		args     []string
		environ  string
		coloured bool
	}{
		{nil, "TERM=dumb", false},
		{[]string{"--once"}, "TERM=xterm", true},
	} {
		cmd := exec.Command(agentproxy, append([]string{"top", "--config", f.config}, test.args...)...)
		cmd.Env = append(baseEnv(t), test.environ)
		top := startInTerminal(t, 80, 24, cmd)
		if err := top.wait(); err != nil {
			t.Error(err)
		}
		got := top.text()
		if !strings.Contains(got, "PROFILE") || sgr.MatchString(got) != test.coloured || strings.Contains(sgr.ReplaceAllString(got, ""), "\x1b") {
			t.Errorf("%s %s: %q", test.environ, test.args, got)
		}
	}
	top := topIn(t, f, 80, 24, "TERM=xterm", "NO_COLOR=1")
	top.onScreen(t, "the view", has("PROFILE"))
	top.press(t, "q")
	if err := top.wait(); err != nil || sgr.MatchString(top.text()) {
		t.Errorf("NO_COLOR: %v, %q", err, top.text())
	}
}

// TestTopPicture takes the picture in docs/ of what top shows in a terminal.
func TestTopPicture(t *testing.T) {
	t.Parallel()
	p, _ := busyProxy(t)
	top := topIn(t, p.fixture, 112, 34, "TERM=xterm-256color")
	top.onScreen(t, "all requests", has("tracker.example"))
	top.press(t, "q")
	if err := top.wait(); err != nil {
		t.Fatal(err)
	}
	frames := strings.Split(top.text(), "\x1b[H")
	picture := drawn(t, frames[len(frames)-1], 112, 34)
	for _, want := range []string{
		"✓ signing", "▁", "12% of 5 hours, 34% of 7 days", "websocket", "GET chatgpt.com/backend-api/codex/responses", "200", "assertion", "403",
		"GET chatgpt.com/backend-api/conversations, out_of_scope", "CONNECT github.com (tunnel)", "q quit",
	} {
		if !strings.Contains(picture, html.EscapeString(want)) {
			t.Errorf("no %q in the picture", want)
		}
	}
	keepPicture(t, "top.svg", []byte(picture))
}

// drawn returns a frame of top as a drawing of a terminal, in SVG.
func drawn(t *testing.T, frame string, columns, rows int) string {
	t.Helper()
	const charWidth, lineHeight, margin = 8, 18, 14
	frame, foot, ok := strings.Cut(frame, fmt.Sprintf("\x1b[J\x1b[%dH", rows))
	if !ok {
		t.Fatalf("a frame without its end: %q", frame)
	}
	foot, _, _ = strings.Cut(foot, "\x1b[K")
	lines := strings.Split(strings.TrimSuffix(frame, "\x1b[K\r\n"), "\x1b[K\r\n")
	for len(lines) < rows-1 {
		lines = append(lines, "")
	}
	lines = append(lines, foot)
	colours := map[string]string{"1": "#ffffff", "31": "#ff8a80", "32": "#6fd39b", "33": "#e6b450", "90": "#8b9199"}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="13">`+"\n",
		columns*charWidth+2*margin, rows*lineHeight+2*margin)
	b.WriteString(`<title>agentproxy top</title><rect width="100%" height="100%" rx="8" fill="#131518"/>` + "\n")
	styled := regexp.MustCompile(`(?:\x1b\[(\d+)m)?([^\x1b]+)(?:\x1b\[0m)?`)
	for i, line := range lines {
		column := 0
		for _, m := range styled.FindAllStringSubmatch(line, -1) {
			colour := colours[m[1]]
			if colour == "" {
				colour = "#d6d4cf"
			}
			n := len([]rune(m[2]))
			if strings.TrimSpace(m[2]) != "" {
				fmt.Fprintf(&b, `<text x="%d" y="%d" fill="%s" textLength="%d" xml:space="preserve">%s</text>`+"\n",
					margin+column*charWidth, margin+i*lineHeight+13, colour, n*charWidth, html.EscapeString(m[2]))
			}
			column += n
		}
		if strings.Contains(styled.ReplaceAllString(line, ""), "\x1b") {
			t.Errorf("not understood: %q", line)
		}
	}
	return b.String() + "</svg>\n"
}
