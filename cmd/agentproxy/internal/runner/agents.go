package runner

import (
	"context"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/agentlogin"
)

// agents returns the uses of agents other than Codex, of which COMMAND may be one.
func (r *runner) agents(ctx context.Context) ([]agentlogin.Use, error) {
	account, err := r.account(ctx)
	if err != nil {
		return nil, err
	}
	var uses []agentlogin.Use
	for _, agent := range agentlogin.Agents() {
		if path := agent.File(r.options.Env.Get); path == "" || r.isHidden(path) {
			continue
		}
		uses = append(uses, agentlogin.Use{
			Agent: agent, Getenv: r.options.Env.Get, Account: account, Now: r.app.Now(), Wanted: agent.Is(r.args[0]),
		})
	}
	return uses, nil
}

// isHidden reports whether a file is hidden from COMMAND as a whole.
func (r *runner) isHidden(path string) bool {
	return slices.ContainsFunc(r.hidden(), func(hidden string) bool {
		rel, err := filepath.Rel(hidden, path)
		return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
	})
}

// shownLogins returns what an isolated COMMAND finds in the files of agents, by their paths,
// and the variables that hold such files.
func (r *runner) shownLogins(ctx context.Context) (shown map[string][]byte, variables []string, err error) {
	uses, err := r.agents(ctx)
	if err != nil {
		return nil, nil, err
	}
	shown = make(map[string][]byte)
	for _, u := range uses {
		path, content, err := u.Shown()
		if err != nil {
			return nil, nil, err
		}
		if path != "" {
			shown[path] = content
		}
		inherited, err := u.Inherited()
		if err != nil {
			return nil, nil, err
		}
		if inherited != "" {
			variables = append(variables, inherited)
		}
	}
	return shown, variables, nil
}

// loginVariables returns the variables by which a COMMAND that is not isolated finds the
// placeholders of agents. Files go to dir.
func (r *runner) loginVariables(ctx context.Context, dir string) (variables []string, err error) {
	uses, err := r.agents(ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range uses {
		more, err := u.Environ(dir)
		if err != nil {
			return nil, err
		}
		variables = append(variables, more...)
	}
	return variables, nil
}
