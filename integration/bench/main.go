//go:build linux

// Command bench measures agentproxy beside what people would use instead of it,
// in one run on one machine.
//
// It builds a release binary, starts a TLS server to send requests to, and one
// program after another in front of it: nothing ("direct"), nginx, agentproxy,
// squid, a bare goproxy and mitmproxy. The same load generator drives all of
// them. Rounds are short and alternate between the programs, so that whatever
// disturbs the machine disturbs all of them; what is reported is the median.
//
// The result is a table in Markdown on standard output, and bench.json.
// BENCH=quick takes two minutes in place of a quarter of an hour. Rivals that are missing
// are installed from Debian's packages when bench runs as root; where one is
// missing all the same, bench fails unless BENCH_ALLOW_MISSING=1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
)

func main() {
	if config := os.Getenv(profiledVariable); config != "" {
		if err := serveProfiled(config); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s\n", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	default:
		fmt.Fprintf(os.Stderr, "bench: %s\n", err)
		os.Exit(1)
	}
}

// run is main without the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	output := flags.String("o", "bench.json", "write the figures to this `file`")
	only := flags.String("only", "", "measure only these `scenarios`, by their ids, separated by commas")
	page := flags.String("page", "", "put the figures into this `file` in Markdown, in place of those that it has")
	programs := flags.String("programs", "", "measure only these `programs`, separated by commas")
	before := flags.String("before", "", "measure this `binary` of agentproxy too, to tell what a change has brought")
	rounds := flags.Int("rounds", 0, "how many rounds each scenario has; 0 leaves it to BENCH")
	profiles := flags.String("profile", "", "measure nothing, but write profiles of agentproxy's data path into this `directory`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if err := checkPage(*page, *only, *programs); err != nil {
		return err
	}
	p, err := planFor(os.Getenv("BENCH"))
	if err != nil {
		return err
	}
	if *rounds > 0 {
		p.rounds = *rounds
	}
	selected, err := selectScenarios(*only)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, p.atMost, fmt.Errorf("the run took longer than %s", p.atMost))
	defer cancel()

	// The load generator and the server leave the processors to what is
	// measured, not to the garbage collector.
	debug.SetGCPercent(400)
	if err := raiseFileLimit(); err != nil {
		return err
	}
	b, err := newBench(ctx, p, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	b.before, b.only = *before, *programs

	if *profiles != "" {
		return b.profile(ctx, selected, *profiles)
	}
	if err := b.startPrograms(ctx, selected); err != nil {
		return err
	}
	report, err := b.measure(ctx, selected)
	if err != nil {
		return err
	}
	if err := report.writeJSON(*output); err != nil {
		return err
	}
	report.writeMarkdown(stdout)
	incomplete := report.err(os.Getenv("BENCH_ALLOW_MISSING") == "1") // as the tables say, too
	if *page == "" {
		return incomplete
	}
	return errors.Join(incomplete, report.writePage(*page))
}

// bench is a run: the server, the programs in front of it and where their files
// are.
type bench struct {
	plan     plan
	log      io.Writer
	dir      string // of this run's files, removed at its end
	binary   string // agentproxy
	before   string // another one of it, or ""
	only     string // the programs that are measured, "" for all
	ca       *authority
	upstream *origin
	programs []*program
}

func newBench(ctx context.Context, p plan, log io.Writer) (_ *bench, err error) {
	b := &bench{plan: p, log: log}
	if b.dir, err = os.MkdirTemp("", "agentproxy-bench-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	// Rivals that give up root's rights still find their files.
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return nil, err
	}
	if b.ca, err = newAuthority(); err != nil {
		return nil, err
	}
	if err := b.ca.writeFiles(b.dir); err != nil {
		return nil, err
	}
	b.binary = filepath.Join(b.dir, "bin", "agentproxy")
	if err := b.build(ctx, b.binary, "./cmd/agentproxy"); err != nil {
		return nil, err
	}
	if b.upstream, err = startUpstream(b.ca); err != nil {
		return nil, err
	}
	return b, nil
}

// close ends everything that the run has started and removes its files.
func (b *bench) close() error {
	for _, p := range b.programs {
		if p.instance != nil {
			p.instance.stop()
		}
	}
	if b.upstream != nil {
		b.upstream.close()
	}
	return os.RemoveAll(b.dir)
}

func (b *bench) logf(format string, args ...any) {
	fmt.Fprintf(b.log, "bench: "+format+"\n", args...)
}

// selectScenarios returns the scenarios with the given ids, all for "".
func selectScenarios(ids string) ([]*scenario, error) {
	if ids == "" {
		return scenarios, nil
	}
	var selected []*scenario
next:
	for id := range strings.SplitSeq(ids, ",") {
		for _, s := range scenarios {
			if s.id == id {
				selected = append(selected, s)
				continue next
			}
		}
		var known []string
		for _, s := range scenarios {
			known = append(known, s.id)
		}
		return nil, fmt.Errorf("there is no scenario %q; there are %s", id, strings.Join(known, ", "))
	}
	return selected, nil
}

// raiseFileLimit makes room for the connections of the idle scenario, for this
// process and those it starts.
func raiseFileLimit() error {
	const wanted = 65536
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if limit.Max < wanted { // which root alone may raise
		raised := syscall.Rlimit{Cur: wanted, Max: wanted}
		if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &raised) == nil {
			return nil
		}
	}
	limit.Cur = min(limit.Max, wanted)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise the limit of open files to %d: %w", limit.Cur, err)
	}
	return nil
}
