package launch

import (
	"errors"
	"os/exec"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// Run runs command to its end. The console sends its signals to the child itself.
// The error is a [cli.ExitError] if it did not succeed, or a [*StartError].
func Run(command Command) error {
	child := childOf(command)
	if err := child.Start(); err != nil {
		return &StartError{err}
	}
	err := child.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return cli.ExitError(exit.ExitCode())
	}
	return err
}
