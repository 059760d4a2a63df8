// Testsummary runs targets of make and ends with one line that counts the tests
// that passed and failed in all of them.
//
//	testsummary 'vet clients unit&' 'integration staticcheck'
//
// The targets of an argument run at once, those of the next one when they have
// succeeded, but for those with &, which nothing waits for before the end. Targets that
// test run go test $(JSON), which testsummary sets to -json. One that tests nothing and
// fails stops those beside it. What a failed test wrote is shown in full, of passed ones
// only their packages. Before the last line is what took longest.
//
// The exit code is 0 if every target succeeded, tests ran, and none failed.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ok := run(ctx, os.Stdout, os.Args[1:], makeTarget)
	stop()
	if !ok {
		os.Exit(1)
	}
}

// makeTarget returns the command that makes a target.
func makeTarget(ctx context.Context, target string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "make", "--no-print-directory", target, "JSON=-json")
	// Not the flags of a make that runs testsummary: its job slots are not passed on.
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); name != "MAKEFLAGS" && name != "MFLAGS" && name != "MAKELEVEL" {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	return cmd
}

// run runs groups of targets, writes what is to be told, and reports whether
// all is well.
func run(ctx context.Context, out io.Writer, groups []string, command func(context.Context, string) *exec.Cmd) bool {
	t := newTally(out)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var beside sync.WaitGroup
	for _, group := range groups {
		var steps sync.WaitGroup
		var failed atomic.Bool
		for _, target := range strings.Fields(group) {
			target, left := strings.CutSuffix(target, "&")
			wait := &steps
			if left {
				wait = &beside
			}
			wait.Go(func() {
				ok, tested := t.step(ctx, target, command(ctx, target))
				if !ok && !tested {
					stop(errStopped)
				}
				if !ok && !left {
					failed.Store(true)
				}
			})
		}
		steps.Wait()
		if failed.Load() || ctx.Err() != nil {
			break
		}
	}
	beside.Wait()
	return t.finish()
}

// errStopped is why a step ends that runs beside one that failed.
var errStopped = errors.New("stopped")

// step runs the command of a target and counts the tests that it reports. It
// reports whether all is well, and whether any test ran.
func (t *tally) step(ctx context.Context, target string, cmd *exec.Cmd) (ok, tested bool) {
	begin := time.Now()
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	events := newStream(t)
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewReader(r)
		for {
			line, err := lines.ReadBytes('\n')
			events.line(line)
			if err != nil {
				return
			}
		}
	})
	err := cmd.Run()
	w.Close()
	reading.Wait()

	took := step{target: target, wall: time.Since(begin)}
	if state := cmd.ProcessState; state != nil {
		took.cpu = state.UserTime() + state.SystemTime()
	}
	problem := ""
	switch {
	case context.Cause(ctx) == errStopped:
	case ctx.Err() != nil:
		problem = "interrupted"
	case err != nil && events.failed == 0:
		problem = err.Error()
	case events.seen && events.passed+events.failed == 0:
		problem = "no test ran"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps = append(t.steps, took)
	if problem != "" {
		t.failed++
		fmt.Fprintf(t.out, "FAIL make %s: %s\n", target, problem)
	}
	return problem == "" && events.failed == 0, events.seen
}
