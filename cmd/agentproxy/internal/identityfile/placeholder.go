package identityfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/agentlogin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// codexClient is the name of Codex among the clients. It is none of [agentlogin.Agents].
const codexClient = "codex"

// PlaceholderClients returns the names of the clients that [WritePlaceholder] knows.
func PlaceholderClients() []string {
	names := []string{codexClient}
	for _, agent := range agentlogin.Agents() {
		names = append(names, agent.Name)
	}
	return names
}

// WritePlaceholder writes the file that a client is to find in place of a log-in of an account
// to path, for its owner alone, or to stdout if path is "". It leaves a file with a log-in as it
// is, but for log-ins at other providers, which stay in what it writes.
func WritePlaceholder(client, path string, stdout io.Writer, account identity.Account, now time.Time) error {
	former, err := formerPlaceholder(path)
	if err != nil {
		return err
	}
	placeholder, err := placeholderFor(client, former, account, now)
	if errors.Is(err, errHoldsLogin) {
		return fmt.Errorf("%s %w", path, err)
	}
	if err != nil {
		return err
	}
	if path == "" {
		_, err = stdout.Write(placeholder)
		return err
	}
	if err := safefile.Write(path, placeholder, 0o600); err != nil {
		return fmt.Errorf("write the placeholder %s: %w; name a file in a directory that can be written", path, safefile.Cause(err))
	}
	return nil
}

// formerPlaceholder returns what is in the file that a placeholder is to be written to, nil
// if there is none.
func formerPlaceholder(path string) ([]byte, error) {
	if path == "" {
		return nil, nil
	}
	raw, err := cli.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("write the placeholder %s: %w; name another file", path, safefile.Cause(err))
	}
	return raw, nil
}

var errHoldsLogin = errors.New("exists and is not a placeholder; it is left as it is: remove it first, or choose another file")

// placeholderFor returns the file that a client is to find in place of former, which may hold
// no log-in.
func placeholderFor(client string, former []byte, account identity.Account, now time.Time) ([]byte, error) {
	if client == codexClient {
		if former != nil && !codex.IsPlaceholder(former) {
			return nil, errHoldsLogin
		}
		return codex.Placeholder(account, now)
	}
	agent, ok := agentlogin.Find(client)
	if !ok {
		return nil, cli.Usagef("--for: there is no placeholder for %q; name one of %s", client, strings.Join(PlaceholderClients(), ", "))
	}
	if holds, err := agent.HoldsLogin(former); holds || err != nil {
		return nil, errHoldsLogin
	}
	return agent.Cover(former, account, now)
}
