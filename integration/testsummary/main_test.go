//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// module is a Go module whose packages end in all the ways that there are.
var module = map[string]string{
	"go.mod": "module m\n\ngo 1.26\n",
	"good/good_test.go": `package good

import "testing"

func TestPlain(t *testing.T) { t.Log("quiet") }
func TestParent(t *testing.T) {
	for _, name := range []string{"a", "b"} {
		t.Run(name, func(t *testing.T) { t.Parallel() })
	}
}
func FuzzSeeds(f *testing.F) {
	f.Add(1)
	f.Fuzz(func(*testing.T, int) {})
}
`,
	"skips/skips_test.go": `package skips

import "testing"

func TestSkipped(t *testing.T) { t.Skip("not today") }
func TestRuns(*testing.T) {}
`,
	"bad/bad_test.go": `package bad

import "testing"

func TestPlain(t *testing.T) { t.Error("plain went wrong") }
func TestParent(t *testing.T) {
	t.Run("a", func(t *testing.T) { t.Run("deep", func(t *testing.T) { t.Error("deep went wrong") }) })
	t.Run("b", func(t *testing.T) {})
}
func TestItself(t *testing.T) {
	t.Run("a", func(t *testing.T) {})
	t.Error("itself went wrong")
}
`,
	"panics/panics_test.go": `package panics

import "testing"

func TestBefore(*testing.T) {}
func TestPanics(t *testing.T) { t.Log("was here"); done := make(chan int); go func() { panic("on another goroutine") }(); <-done }
`,
	"exits/exits_test.go": `package exits

import ("os"; "testing")

func TestMain(*testing.M) { println("cannot begin"); os.Exit(3) }
func TestNever(*testing.T) {}
`,
	"broken/broken_test.go": "package broken\n\nimport \"testing\"\n\nfunc TestX(*testing.T) { undefined() }\n",
	"none/none.go":          "package none\n",
}

// goTest returns what runs the tests of the packages that a target names.
func goTest(t *testing.T) func(context.Context, string) *exec.Cmd {
	dir := t.TempDir()
	for name, text := range module {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return func(ctx context.Context, target string) *exec.Cmd {
		args := []string{"test", "-json", "-vet=off"}
		for name := range strings.SplitSeq(target, "+") {
			args = append(args, "./"+name)
		}
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		return cmd
	}
}

// shell runs a target as a command of the shell.
func shell(ctx context.Context, target string) *exec.Cmd {
	return exec.CommandContext(ctx, "sh", "-c", strings.ReplaceAll(target, "_", " "))
}

func TestRun(t *testing.T) {
	t.Parallel()
	goTest := goTest(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		groups  []string
		command func(context.Context, string) *exec.Cmd
		last    string
		holds   []string
		lacks   []string
	}{
		"good":              {[]string{"good"}, goTest, "4 passed, 0 failed", []string{"ok   m/good: 4 passed in "}, []string{"quiet", "=== "}},
		"skipped":           {[]string{"good+skips"}, goTest, "5 passed, 0 failed, 1 skipped", []string{"not today"}, nil},
		"bad":               {[]string{"good bad"}, goTest, "6 passed, 3 failed", []string{"plain went wrong", "deep went wrong", "itself went wrong", "FAIL m/bad: 2 passed, 3 failed in "}, []string{"FAIL\n"}},
		"panics":            {[]string{"panics"}, goTest, "1 passed, 1 failed", []string{"was here", "panic: on another goroutine", "FAIL m/panics: 1 passed, 1 failed"}, nil},
		"exits":             {[]string{"good+exits"}, goTest, "4 passed, 1 failed", []string{"cannot begin", "FAIL m/exits"}, nil},
		"does not compile":  {[]string{"good+broken"}, goTest, "4 passed, 1 failed", []string{"undefined: undefined", "FAIL m/broken"}, nil},
		"no such package":   {[]string{"nowhere"}, goTest, "0 passed, 1 failed", []string{"nowhere"}, nil},
		"no test":           {[]string{"none"}, goTest, "0 passed, 1 failed", []string{"FAIL make none: no test ran"}, nil},
		"one without":       {[]string{"good", "none"}, goTest, "4 passed, 1 failed", []string{"no test ran"}, nil},
		"no tests at all":   {[]string{"true"}, shell, "0 passed, 1 failed", []string{"FAIL no test ran"}, nil},
		"lint":              {[]string{"true echo_not_formatted;exit_1", "echo_never"}, shell, "0 passed, 1 failed", []string{"not formatted\n", "FAIL make echo_not_formatted;exit_1: exit status 1"}, []string{"never\n"}},
		"downloads":         {[]string{"echo_go:_downloading_x;echo_go:_other"}, shell, "0 passed, 1 failed", []string{"go: other\n"}, []string{"downloading x\n"}},
		"lint beside":       {[]string{"exec_sleep_1000 exit_1"}, shell, "0 passed, 1 failed", []string{"FAIL make exit_1: exit status 1"}, []string{"FAIL make exec"}},
		"left running":      {[]string{"cat_" + fifo + "& echo_first", "echo_second_>" + fifo}, shell, "0 passed, 1 failed", []string{"first\nsecond\n", "FAIL no test ran"}, nil},
		"left, and failed":  {[]string{"echo_left;exit_1& exec_sleep_1000", "echo_never"}, shell, "0 passed, 1 failed", []string{"FAIL make echo_left;exit_1: exit status 1"}, []string{"never\n", "FAIL make exec"}},
		"left, and stopped": {[]string{"exec_sleep_1000& true", "exit_1"}, shell, "0 passed, 1 failed", []string{"FAIL make exit_1: exit status 1"}, []string{"FAIL make exec"}},
		"no such program":   {[]string{"/nonexistent"}, shell, "0 passed, 1 failed", []string{"not found"}, nil},
		"no newline":        {[]string{`printf_{x`}, shell, "0 passed, 1 failed", []string{"{x\n"}, nil},
		"nothing to be run": {nil, shell, "0 passed, 1 failed", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			ok := run(t.Context(), &out, test.groups, test.command)
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			if last := lines[len(lines)-1]; last != test.last || ok != strings.Contains(last, " 0 failed") {
				t.Errorf("%q, %t; want %q", last, ok, test.last)
			}
			for _, text := range test.holds {
				if !strings.Contains(out.String(), text) {
					t.Errorf("it does not say %q", text)
				}
			}
			for _, text := range test.lacks {
				if strings.Contains(out.String(), text) {
					t.Errorf("it says %q", text)
				}
			}
			if t.Failed() {
				t.Log(out.String())
			}
		})
	}
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var out strings.Builder
	if run(ctx, &out, []string{"x"}, func(ctx context.Context, _ string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, "sleep", "1000")
		cancel()
		return cmd
	}) {
		t.Error("it succeeded")
	}
	if !strings.Contains(out.String(), "FAIL make x: interrupted\n") || !strings.HasSuffix(out.String(), "\n0 passed, 1 failed\n") {
		t.Error(out.String())
	}
}

func TestLongest(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	tally := newTally(&out)
	s := newStream(tally)
	for i := range 20 {
		s.line(fmt.Appendf(nil, `{"Action":"pass","Package":%q,"Test":"Test%d","Elapsed":%d.26}`, modulePath+"proxy", i, i))
	}
	s.line([]byte(`{"Action":"pass","Package":"` + modulePath + `proxy","Elapsed":61}`))
	if !tally.finish() {
		t.Error("it failed")
	}
	want := `ok   proxy: 20 passed in 1m1s

steps:            
longest packages: proxy 1m1s
longest tests:    proxy Test19 19s, proxy Test18 18s, proxy Test17 17s, proxy Test16 16s, proxy Test15 15s, proxy Test14 14s, proxy Test13 13s, proxy Test12 12s
20 passed, 0 failed
`
	if out.String() != want {
		t.Errorf("got:\n%s\nwant:\n%s", out.String(), want)
	}
}
