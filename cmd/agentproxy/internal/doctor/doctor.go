// Package doctor finds out what works and what does not, for agentproxy check.
package doctor

import (
	"context"
	"fmt"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// The outcomes of a check.
const (
	OK      = "ok"
	Warning = "warning"
	Failed  = "failed"
)

// Finding is what one check found.
type Finding struct {
	Check   string `json:"check"`
	Status  string `json:"status"`
	Message string `json:"message"`
	// Remedy says what to do, where anything is to be done and Message does not say it.
	Remedy string `json:"remedy,omitempty"`
}

// Options say what is checked.
type Options struct {
	Path string // of the configuration, "" for none
	Env  cli.Environment
	// Open opens the app of the configuration.
	Open func() (*app.App, error)
}

// checker collects findings.
type checker struct {
	app      *app.App
	env      cli.Environment
	findings []Finding
}

func (k *checker) add(check, status, remedy, format string, args ...any) {
	k.findings = append(k.findings, Finding{check, status, fmt.Sprintf(format, args...), remedy})
}

func (k *checker) ok(check, format string, args ...any) { k.add(check, OK, "", format, args...) }

func (k *checker) warn(check, remedy, format string, args ...any) {
	k.add(check, Warning, remedy, format, args...)
}

func (k *checker) fail(check, remedy, format string, args ...any) {
	k.add(check, Failed, remedy, format, args...)
}

// Check makes all checks, in the order in which a request depends on them. It signs, and so
// it registers what is missing.
func Check(ctx context.Context, o Options) []Finding {
	k := &checker{env: o.Env}
	a, err := o.Open()
	if err != nil {
		k.fail("configuration", "", "%s", err)
		return k.findings
	}
	defer a.Close()
	k.app = a
	name := o.Path
	if name == "" {
		name = "none is named; the defaults hold"
	}
	k.ok("configuration", "%s", name)
	k.checkProfiles()
	k.checkCA()
	k.checkClients(ctx, checkUsers)
	k.checkIsolation()
	k.checkBypasses()
	k.checkLogin(ctx)
	reachable := k.checkResolution(ctx) && k.checkTLS(ctx)
	k.checkIdentity(ctx, reachable)
	k.checkClock(reachable)
	if reachable {
		k.checkQuota(ctx)
		k.checkSignedRequest(ctx)
	} else {
		k.fail("signed request", "", "not tried, for the backend cannot be reached")
	}
	return k.findings
}
