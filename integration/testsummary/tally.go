package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// modulePath is left out where packages are named.
const modulePath = "github.com/agentproxy/agentproxy/"

// tally counts the tests of all steps. It is safe for concurrent use.
type tally struct {
	mu                      sync.Mutex
	out                     io.Writer
	passed, failed, skipped int
	steps                   []step
	packages, tests         []timing
}

// step is a target that was made.
type step struct {
	target    string
	wall, cpu time.Duration
}

// timing is how long a package or a test took.
type timing struct {
	name string
	took time.Duration
}

func newTally(out io.Writer) *tally { return &tally{out: out} }

// stream is what one step writes: events of go test -json, as cmd/test2json
// describes them, and other lines.
type stream struct {
	*tally
	seen           bool // an event
	passed, failed int
	running        map[string]*packageRun
	builds         map[string]string // what the compiler said, by import path
}

// packageRun is a package whose tests are running.
type packageRun struct {
	output strings.Builder // that is no test's
	tests  map[string]*testRun
	passed int
	failed int
}

// testRun is a test that is running, or has subtests that have run.
type testRun struct {
	output strings.Builder
	ended  bool
	parent bool // it has subtests
	failed bool // one of them has
}

// event is a line of go test -json.
type event struct {
	Action, Package, Test, Output, ImportPath, FailedBuild string
	Elapsed                                                float64
}

func newStream(t *tally) *stream {
	return &stream{tally: t, running: make(map[string]*packageRun), builds: make(map[string]string)}
}

// line takes note of an event, and passes on what is none. What the go command
// downloads is nobody's concern: there are hundreds.
func (s *stream) line(raw []byte) {
	if len(raw) == 0 || bytes.HasPrefix(raw, []byte("go: downloading ")) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var e event
	if raw[0] != '{' || json.Unmarshal(raw, &e) != nil || e.Action == "" {
		_, _ = s.out.Write(raw)
		if raw[len(raw)-1] != '\n' {
			fmt.Fprintln(s.out)
		}
		return
	}
	s.seen = true
	switch {
	case e.Action == "build-output":
		s.builds[e.ImportPath] += e.Output
	case e.Package == "":
	case e.Test == "":
		s.ofPackage(e)
	default:
		s.ofTest(e)
	}
}

func (s *stream) packageRun(name string) *packageRun {
	p := s.running[name]
	if p == nil {
		p = &packageRun{tests: make(map[string]*testRun)}
		s.running[name] = p
	}
	return p
}

func (p *packageRun) test(name string) *testRun {
	r := p.tests[name]
	if r == nil {
		r = new(testRun)
		p.tests[name] = r
	}
	return r
}

// ofTest takes note of what happens to a test. A test with subtests counts as
// those, and by itself only if it failed while they did not.
func (s *stream) ofTest(e event) {
	p := s.packageRun(e.Package)
	r := p.test(e.Test)
	parent := (*testRun)(nil)
	if i := strings.LastIndexByte(e.Test, '/'); i >= 0 {
		parent = p.test(e.Test[:i])
		parent.parent = true
	}
	switch e.Action {
	case "output":
		if !strings.HasPrefix(e.Output, "=== ") { // that it runs
			r.output.WriteString(e.Output)
		}
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	r.ended = true
	if parent == nil {
		s.tests = append(s.tests, timing{shortName(e.Package) + " " + e.Test, seconds(e.Elapsed)})
	}
	switch {
	case e.Action == "fail":
		if parent != nil {
			parent.failed = true
		}
		fmt.Fprint(s.out, r.output.String())
		if !r.failed {
			s.fail(p)
		}
	case r.parent:
	case e.Action == "skip":
		s.skipped++
		fmt.Fprint(s.out, r.output.String())
	default:
		s.pass(p)
	}
	r.output.Reset()
}

func (s *stream) pass(p *packageRun) {
	p.passed++
	s.passed++
	s.tally.passed++
}

func (s *stream) fail(p *packageRun) {
	p.failed++
	s.failed++
	s.tally.failed++
}

// ofPackage takes note of what happens to a package. One that failed without a
// failed test counts as one: it does not compile, or its process ended.
func (s *stream) ofPackage(e event) {
	p := s.packageRun(e.Package)
	switch e.Action {
	case "output":
		if e.Output != "FAIL\n" && !strings.HasPrefix(e.Output, "FAIL\t") { // which is said here
			p.output.WriteString(e.Output)
		}
		return
	case "pass", "fail", "skip":
	default:
		return
	}
	delete(s.running, e.Package)
	s.packages = append(s.packages, timing{shortName(e.Package), seconds(e.Elapsed)})
	if e.Action != "fail" {
		if p.passed > 0 {
			fmt.Fprintf(s.out, "ok   %s: %d passed in %s\n", shortName(e.Package), p.passed, round(seconds(e.Elapsed)))
		}
		return
	}
	for _, r := range p.tests {
		if !r.ended { // the process ended first
			fmt.Fprint(s.out, r.output.String())
		}
	}
	fmt.Fprint(s.out, s.builds[e.FailedBuild], p.output.String())
	if p.failed == 0 {
		s.fail(p)
	}
	fmt.Fprintf(s.out, "FAIL %s: %d passed, %d failed in %s\n", shortName(e.Package), p.passed, p.failed, round(seconds(e.Elapsed)))
}

// finish tells what took longest, and in the last line how many tests passed and
// failed. It reports whether all is well.
func (t *tally) finish() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.passed+t.failed == 0 {
		fmt.Fprintln(t.out, "FAIL no test ran")
		t.failed++
	}
	fmt.Fprintln(t.out)
	var steps []string
	for _, s := range t.steps {
		steps = append(steps, fmt.Sprintf("%s %s (%s of CPU)", s.target, round(s.wall), round(s.cpu)))
	}
	fmt.Fprintf(t.out, "steps:            %s\n", strings.Join(steps, ", "))
	for _, longest := range []struct {
		what    string
		timings []timing
		most    int
	}{{"longest packages: ", t.packages, 4}, {"longest tests:    ", t.tests, 8}} {
		slices.SortStableFunc(longest.timings, func(a, b timing) int { return cmp.Compare(b.took, a.took) })
		var list []string
		for _, l := range longest.timings[:min(longest.most, len(longest.timings))] {
			list = append(list, fmt.Sprintf("%s %s", l.name, round(l.took)))
		}
		if len(list) > 0 {
			fmt.Fprintf(t.out, "%s%s\n", longest.what, strings.Join(list, ", "))
		}
	}
	fmt.Fprintf(t.out, "%d passed, %d failed", t.passed, t.failed)
	if t.skipped > 0 {
		fmt.Fprintf(t.out, ", %d skipped", t.skipped)
	}
	fmt.Fprintln(t.out)
	return t.failed == 0
}

func shortName(pkg string) string { return strings.TrimPrefix(pkg, modulePath) }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func round(d time.Duration) time.Duration {
	if d >= 10*time.Second {
		return d.Round(time.Second)
	}
	return d.Round(100 * time.Millisecond)
}
