package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// The outcomes of a check.
const (
	checkOK      = "ok"
	checkWarning = "warning"
	checkFailed  = "failed"
)

// finding is what one check found.
type finding struct {
	Check   string `json:"check"`
	Status  string `json:"status"`
	Message string `json:"message"`
	// Remedy says what to do, where anything is to be done and Message does
	// not say it.
	Remedy string `json:"remedy,omitempty"`
}

func newCheckCommand(c *command) *cobra.Command {
	var asJSON, ready bool
	var request string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Say what works and what does not, each with its remedy",
		Long: `Look at everything that a signed request needs, from the configuration to the
backend's answer, and say of each whether it is in order. An identity and a task
are registered on the way if the configuration allows that.

With --request nothing is asked for: what would become of that request is said, and
which line of the configuration decides. The method WEBSOCKET is GET with an
upgrade.

With --ready only the running proxy is asked, at its admin listener, whether it
can sign: what a container's health is probed with.

The exit code is 1 if anything failed, or the request would be refused.`,
		Example: `  agentproxy check
  agentproxy check --request "POST https://chatgpt.com/backend-api/files"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ready && asJSON {
				return cli.Usagef("--ready and --json: the one prints a line, the other a list; choose one")
			}
			if ready && request != "" {
				return cli.Usagef("--ready and --request: the one asks the running proxy, the other nobody; choose one")
			}
			if ready {
				return c.checkReady(cmd.Context())
			}
			findings, err := c.findings(cmd.Context(), request)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(c.stdout)
				enc.SetEscapeHTML(false)
				enc.SetIndent("", "  ")
				if err := enc.Encode(findings); err != nil {
					return err
				}
			} else {
				for _, f := range findings {
					c.printFinding(f)
				}
			}
			for _, f := range findings {
				if f.Status == checkFailed {
					return cli.ExitError(cli.ExitFailed)
				}
			}
			return nil
		},
	}
	c.configFlag(cmd)
	c.profileFlag(cmd)
	cmd.Flags().BoolVar(&ready, "ready", false, "ask the running proxy whether it can sign, and nothing else")
	cmd.Flags().StringVar(&request, "request", "", "say what would become of a `request`, a method and a URL")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array in place of lines")
	return cmd
}

// findings makes all checks, or the one of a request.
func (c *command) findings(ctx context.Context, request string) ([]finding, error) {
	if request != "" {
		return c.checkRequest(ctx, request)
	}
	return c.check(ctx), nil
}

func (c *command) printFinding(f finding) {
	line := fmt.Sprintf("%-8s %-15s %s", f.Status, f.Check, f.Message)
	if f.Remedy != "" {
		line += "; " + f.Remedy
	}
	fmt.Fprintln(c.stdout, line)
}

// checker collects findings.
type checker struct {
	app      *app
	env      cli.Environment
	findings []finding
}

func (k *checker) ok(check, format string, args ...any) {
	k.findings = append(k.findings, finding{Check: check, Status: checkOK, Message: fmt.Sprintf(format, args...)})
}

func (k *checker) warn(check, remedy, format string, args ...any) {
	k.findings = append(k.findings, finding{check, checkWarning, fmt.Sprintf(format, args...), remedy})
}

func (k *checker) fail(check, remedy, format string, args ...any) {
	k.findings = append(k.findings, finding{check, checkFailed, fmt.Sprintf(format, args...), remedy})
}

// check makes all checks, in the order in which a request depends on them.
func (c *command) check(ctx context.Context) []finding {
	k := &checker{env: c.env}
	a, err := c.load()
	if err != nil {
		k.fail("configuration", "", "%s", err)
		return k.findings
	}
	defer a.close()
	k.app = a
	name := c.configPath
	if name == "" {
		name = "none is named; the defaults hold"
	}
	k.ok("configuration", "%s", name)
	k.checkProfiles()
	k.checkCA()
	k.checkClients(ctx, tellUser)
	k.checkIsolation()
	k.checkBypasses()
	k.checkLogin(ctx)
	reachable := k.checkResolution(ctx) && k.checkTLS(ctx)
	k.checkIdentity(ctx, reachable)
	k.checkClock(reachable)
	if reachable {
		k.checkSignedRequest(ctx)
	} else {
		k.fail("signed request", "", "not tried, for the backend cannot be reached")
	}
	return k.findings
}
