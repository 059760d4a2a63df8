// Package doctor finds out what works and what does not, for agentproxy check.
//
// It changes nothing: it registers nothing, refreshes no token and writes no file. What it
// sends, it signs with what is there. [Repair] mends what it found, where that is safe.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// The outcomes of a check.
const (
	OK      = "ok"
	Warning = "warning"
	Failed  = "failed"
	Fixed   = "fixed" // by [Repair]
)

// Finding is what one check found.
type Finding struct {
	Check   string `json:"check"`
	Status  string `json:"status"`
	Message string `json:"message"`
	// Remedy says what to do, where anything is to be done and Message does not say it.
	Remedy string `json:"remedy,omitempty"`
	// Command is what to type for it in a shell.
	Command string `json:"command,omitempty"`
}

// Report is all that was found.
type Report struct {
	Findings []Finding
	// Broken is whether the configuration cannot be used.
	Broken bool
}

// Err returns a [cli.ExitError] with the exit code of agentproxy check, nil if nothing has
// failed.
func (r Report) Err() error {
	if r.Broken {
		return cli.ExitError(cli.ExitUsage)
	}
	if slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Status == Failed }) {
		return cli.ExitError(cli.ExitFailed)
	}
	return nil
}

// Options say what is checked.
type Options struct {
	ConfigName string // as --config has it, "" without
	Path       string // of the configuration, "" for none
	Profile    string // to act as, "" for that of clients without one
	Env        cli.Environment
	// Load loads the configuration. Open opens its app, which must change nothing
	// ([app.Options.ReadOnly]).
	Load func() (*config.Config, error)
	Open func(*config.Config) (*app.App, error)
}

// remedy is what to do about a finding: in words, as a command, or both.
type remedy struct{ words, command string }

// do is the remedy that is a command alone.
func do(command string) remedy { return remedy{command: command} }

// none is for a finding whose remedy another line has.
var none remedy

// checker collects findings.
type checker struct {
	options  Options
	env      cli.Environment
	config   *config.Config
	app      *app.App // nil if it cannot be opened
	findings []Finding
	repairs  []repair
	mending  []string // the paths of files in repairs
	serving  bool     // agentproxy serve listens where the configuration says
	dated    bool     // the backend has said what time it is
	broken   bool
}

func (k *checker) add(check, status string, r remedy, format string, args ...any) {
	k.findings = append(k.findings, Finding{check, status, fmt.Sprintf(format, args...), r.words, r.command})
}

func (k *checker) ok(check, format string, args ...any) { k.add(check, OK, none, format, args...) }

func (k *checker) warn(check string, r remedy, format string, args ...any) {
	k.add(check, Warning, r, format, args...)
}

func (k *checker) fail(check string, r remedy, format string, args ...any) {
	k.add(check, Failed, r, format, args...)
}

// reject notes that the configuration cannot be used, for the reason err, or for each of its
// mistakes. It notes besides how to mend the mode of a file.
func (k *checker) reject(err error) {
	k.broken = true
	r := do(k.edit())
	if path := k.options.Path; path != "" {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			r = do("agentproxy config init " + quote(path))
		}
	}
	if k.config == nil {
		mistakes := config.Mistakes(k.options.Path, k.env)
		for _, mistake := range mistakes {
			k.fail("configuration", r, "%s", mistake)
		}
		if len(mistakes) > 0 {
			return
		}
	}
	if e, ok := errors.AsType[*safefile.ModeError](err); ok {
		r = do(k.chmod("configuration", e))
	}
	k.fail("configuration", r, "%s", err)
}

// open loads the configuration and opens its app, and reports whether it did.
func (k *checker) open() bool {
	var err error
	if k.config, err = k.options.Load(); err == nil {
		k.app, err = k.options.Open(k.config)
	}
	if err != nil {
		k.reject(err)
	}
	return err == nil
}

func (k *checker) report() Report { return Report{k.findings, k.broken} }

// Check makes all checks. It changes nothing.
func Check(ctx context.Context, o Options) Report {
	k := &checker{options: o, env: o.Env}
	k.check(ctx)
	return k.report()
}

// check makes all checks, in the order in which a request depends on them. Where the
// configuration can be read and not used, it makes those that need no more.
func (k *checker) check(ctx context.Context) {
	if k.open() {
		defer k.app.Close()
		k.ok("configuration", "%s", k.configName())
	}
	if k.config == nil {
		return
	}
	// While this process holds no secret of the log-in.
	k.checkIsolation()
	k.checkProfiles()
	k.checkState()
	k.checkFiles()
	if k.app != nil {
		k.checkClients(ctx, checkUsers)
		k.checkExchange(ctx)
		k.checkServe(ctx)
		k.checkShell()
		k.checkCA()
	}
	k.checkBypasses()
	if k.app != nil {
		k.checkRequests(ctx)
	}
}

func (k *checker) configName() string {
	if path := k.config.Path(); path != "" {
		return path
	}
	return "none is named; the defaults hold"
}

// checkRequests finds whether the backend can be reached, and takes what is signed.
func (k *checker) checkRequests(ctx context.Context) {
	reachable := k.checkResolution(ctx) && k.checkTLS(ctx)
	k.checkClock(reachable)
	c := k.checkLogin(ctx)
	k.checkIdentity(ctx, &c)
	if reachable {
		k.checkQuota(ctx)
		k.checkSignedRequest(ctx, c)
	} else {
		k.fail("signed request", none, "not tried: the backend cannot be reached")
	}
}
