//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// program is one of those that are compared.
type program struct {
	name string
	// command is what has to be installed, by name or path, pkg the package of Debian's that
	// holds it. "" where the bench builds the program itself.
	command, pkg string
	// version returns what it calls itself.
	version func(ctx context.Context, b *bench) string
	// start starts an instance whose files are in dir.
	start func(ctx context.Context, b *bench, dir string) (*instance, error)

	instance *instance
	missing  string // why there is none
	called   string // its version
}

// instance is a running program, or the server itself.
type instance struct {
	endpoint
	process *process // nil for the server itself
}

func (i *instance) stop() {
	if i.process != nil {
		i.process.stop()
	}
}

// The names of the programs.
const (
	direct     = "direct"
	nginx      = "nginx"
	agentproxy = "agentproxy"
	before     = "before" // another binary of agentproxy
	withUsage  = "usage"  // agentproxy with usage.file
	squid      = "squid"
	goproxy    = "goproxy"
	mitmproxy  = "mitmproxy"
	copying    = "copying" // a tunnel that copies in user space
)

// allPrograms returns the programs in the order of the tables.
func allPrograms() []*program {
	return []*program{
		{name: direct, start: startDirect},
		{name: nginx, command: "nginx", pkg: "nginx-light", version: versionOf("nginx", "-v"), start: startNginx},
		{name: agentproxy, start: startAgentproxy},
		{name: before, start: startBefore},
		{name: withUsage, start: startWithUsage},
		{name: squid, command: squidCertgen, pkg: "squid-openssl", version: versionOf("squid", "-v"), start: startSquid},
		{name: goproxy, version: goproxyVersion, start: startGoproxy},
		{name: mitmproxy, command: "mitmdump", pkg: "mitmproxy", version: versionOf("mitmdump", "--version"), start: startMitmproxy},
		{name: copying, start: startCopying},
	}
}

// startPrograms starts those programs that the scenarios measure.
func (b *bench) startPrograms(ctx context.Context, selected []*scenario) error {
	for _, p := range allPrograms() {
		if !slices.ContainsFunc(selected, func(s *scenario) bool { return s.measures(p.name) }) || !b.wants(p.name) {
			continue
		}
		b.programs = append(b.programs, p)
	}
	b.installMissing(ctx)
	for _, p := range b.programs {
		if p.missing != "" {
			continue
		}
		instance, err := b.startInstance(ctx, p, p.name)
		if err != nil {
			return err
		}
		p.instance = instance
		if p.version != nil {
			p.called = p.version(ctx, b)
		}
		if p.name == copying {
			continue // it has no part in HTTP
		}
		if err := p.check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// wants reports whether a program is asked for.
func (b *bench) wants(program string) bool {
	if program == before {
		return b.before != ""
	}
	return b.only == "" || slices.Contains(strings.Split(b.only, ","), program)
}

// startInstance starts p with its files in a new directory whose name begins with that one.
func (b *bench) startInstance(ctx context.Context, p *program, name string) (*instance, error) {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	i, err := p.start(ctx, b, dir)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name, err)
	}
	return i, nil
}

// launch starts argv and waits until it listens at the endpoint's address.
func launch(ctx context.Context, dir string, e endpoint, environ []string, argv ...string) (*instance, error) {
	p, err := startProcess(dir, e.program, argv, environ)
	if err != nil {
		return nil, err
	}
	if err := p.awaitListening(ctx, e.address); err != nil {
		p.stop()
		return nil, err
	}
	return &instance{endpoint: e, process: p}, nil
}

// check makes sure that p does the work: the header is set, and by nobody else.
func (p *program) check(ctx context.Context) error {
	got, err := p.instance.get(ctx, pathAuthorization)
	if err != nil {
		return fmt.Errorf("%s: a first request: %w\n%s", p.name, err, p.instance.process.lastWords())
	}
	want := "Bearer " + rivalToken
	switch p.name {
	case direct:
		want = clientAuthorization
	case agentproxy, before, withUsage:
		want = "AgentAssertion "
	}
	if !strings.HasPrefix(got, want) {
		return fmt.Errorf("%s: the server was sent Authorization: %.40q, want %q", p.name, got, want)
	}
	return nil
}

// rivalToken is what rivals put on requests: of the length of an assertion.
var rivalToken = "bench." + strings.Repeat("0123456789abcdef", 24)

// versionOf returns the first line of what a command says of itself.
func versionOf(argv ...string) func(context.Context, *bench) string {
	return func(ctx context.Context, _ *bench) string {
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
		if err != nil {
			return ""
		}
		line, _, _ := strings.Cut(string(out), "\n")
		return strings.TrimSpace(line)
	}
}

// build builds a command of this module as a release is.
func (b *bench) build(ctx context.Context, output, pkg string) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", output, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// moduleRoot returns the directory of go.mod, from the working directory up.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod here or above: run the bench in the repository")
		}
		dir = filepath.Dir(dir)
	}
}
