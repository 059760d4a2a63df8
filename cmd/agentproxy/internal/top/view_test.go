package top

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode"
)

// screenOf returns the lines that a view puts on the screen.
func screenOf(t *testing.T, v *view) []string {
	t.Helper()
	frame := v.frame()
	plain := painted.Replace(frame)
	rest, ok := strings.CutPrefix(plain, toCorner)
	if !ok {
		t.Fatalf("%q does not begin in the corner", frame)
	}
	rest, foot, _ := strings.Cut(rest, clearScreen)
	foot = strings.TrimSuffix(strings.TrimPrefix(foot, fmt.Sprintf("\x1b[%dH", v.height)), clearLine)
	lines := strings.Split(strings.TrimSuffix(rest, clearLine+"\r\n"), clearLine+"\r\n")
	lines = append(lines, foot)
	for _, l := range lines {
		if n := (line{{"", l}}).width(); n > v.width || strings.ContainsFunc(l, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%d columns on a screen of %d: %q", n, v.width, l)
		}
	}
	if v.height > 1 && len(lines) > v.height {
		t.Errorf("%d lines on a screen of %d", len(lines), v.height)
	}
	return lines
}

func TestView(t *testing.T) {
	t.Parallel()
	v := &view{status: status(t), width: 80, height: 20, palette: true}
	first := screenOf(t, v)
	if !strings.HasPrefix(first[0], "agentproxy v1.0.0") || !strings.HasPrefix(first[7], "PROFILE") || first[19] != "q quit  p pause  ←↓↑→ scroll  lines 1–12 of 29" {
		t.Errorf("%q", first)
	}
	// The head stays where it is.
	for range 2 {
		v.press(keyDown)
	}
	if got := screenOf(t, v); got[0] != first[0] || got[7] != first[9] || !strings.Contains(got[19], "lines 3–14 of 29") {
		t.Errorf("%q", got)
	}
	v.press(keyUp)
	v.press(keyUp)
	v.press(keyUp)
	if got := screenOf(t, v); got[7] != first[7] {
		t.Errorf("%q", got)
	}
	v.press(keyEnd)
	if got := screenOf(t, v); !strings.HasPrefix(got[18], "host_refused") || !strings.Contains(got[19], "lines 18–29 of 29") {
		t.Errorf("%q", got)
	}
	v.press(keyPageUp)
	v.press(keyPageUp)
	v.press(keyPageDown)
	if got := screenOf(t, v); !strings.Contains(got[19], "lines 6–17 of 29") {
		t.Errorf("%q", got)
	}
	v.press(keyHome)
	for range 100 {
		v.press(keyRight)
	}
	if got := screenOf(t, v); got[0] != first[0] || !strings.Contains(got[8], "of workspace w") {
		t.Errorf("%q", got)
	}
	for range 100 {
		v.press(keyLeft)
	}
	if got := screenOf(t, v); got[8] != first[8] {
		t.Errorf("%q", got)
	}
	v.press(keyPause)
	if got := screenOf(t, v); !v.paused || !strings.Contains(got[19], "p resume") || !strings.Contains(got[19], "PAUSED") {
		t.Errorf("%q", got)
	}
	v.press(keyPause)
	v.err = errors.New("it does not answer\x1b[2J")
	if got := screenOf(t, v); got[0] != "it does not answer?[2J" || got[2] != first[0] {
		t.Errorf("%q", got)
	}
	if v.paused || !v.press(keyQuit) {
		t.Error("q does not quit")
	}
}

// TestViewFits shows the view on screens of all sizes, however it is scrolled.
func TestViewFits(t *testing.T) {
	t.Parallel()
	v := &view{status: status(t)}
	for v.width = range 120 {
		for v.height = v.width % 7; v.height < 45; v.height += 7 {
			screenOf(t, v)
			v.press(key(v.width+v.height)%keyEnd + 1)
		}
	}
	v.width, v.height, v.down, v.right = 60, 9, 0, 0
	if got := screenOf(t, v); !strings.HasPrefix(got[0], "agentproxy") || !strings.HasPrefix(got[7], "PROFILE") {
		t.Errorf("%q", got) // all of it is scrolled
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	const sent = "\x1b[A\x1bOBx\x1b[200~\x1b[5~\x1b[1;5Cjé\x1bOz\x1bq"
	want := []key{keyUp, keyDown, keyPageUp, keyDown, keyQuit}
	for _, size := range []int{1, 2, 3, 100} { // however the terminal cuts what it sends
		var got []key
		readKeys(&pieces{[]byte(sent), size}, func(k key) { got = append(got, k) })
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("in pieces of %d: %v, want %v", size, got, want)
		}
	}
}

type pieces struct {
	rest []byte
	size int
}

// Read implements [io.Reader].
func (p *pieces) Read(b []byte) (int, error) {
	n := copy(b, p.rest[:min(p.size, len(p.rest))])
	p.rest = p.rest[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// FuzzKeys takes whatever a terminal sends, and comes to an end.
func FuzzKeys(f *testing.F) {
	for _, s := range sequences {
		f.Add([]byte(s.sent))
	}
	f.Add([]byte("\x1b[\x1b[999;999;9"))
	f.Fuzz(func(t *testing.T, sent []byte) {
		for len(sent) > 0 {
			_, n := nextKey(sent)
			if n < 0 || n > len(sent) {
				t.Fatalf("%d of %q", n, sent)
			}
			if n == 0 {
				if len(sent) > maxSequence+4 {
					t.Fatalf("waits for more than %q", sent)
				}
				return
			}
			sent = sent[n:]
		}
	})
}
