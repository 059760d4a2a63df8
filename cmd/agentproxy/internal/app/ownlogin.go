package app

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/identity/codex"
)

// Login is where the log-in of an account is.
type Login struct {
	Dir string
	Own bool // it is of agentproxy login, and nothing else uses it
}

// findLogin returns where the log-in is. read is asked for the marks of log-ins that
// there may come to be: whoever watches what is read takes them up.
func findLogin(id config.Identity, read readFile) Login {
	last := Login{Dir: id.CodexHome}
	if id.File != "" { // which holds the identity; the state directory may be another user's
		return last
	}
	for _, dir := range []string{id.OwnLogin.Dir, id.OwnLogin.Common} {
		if dir == "" {
			continue
		}
		// What is there and cannot be read is an error that a request will tell of.
		if _, err := read(filepath.Join(dir, codex.LoginMark)); !errors.Is(err, fs.ErrNotExist) {
			return Login{dir, true}
		}
		if id.OwnLogin.Only {
			last = Login{dir, true}
		}
	}
	return last
}

// accountSettings returns what the account of an agent is made of.
func (a *App) accountSettings(agent *config.Agent) accountSettings {
	s := accountSettings{agent.Identity, a.logins[agent.Profile], a.Config.BaseURL, a.upstream}
	if agent.Profile != "" && s.login.Own && s.login.Dir == agent.Identity.OwnLogin.Dir {
		s.identity.AccessToken = "" // the profile's own log-in is meant to be used
	}
	return s
}

// OpenOwnLogin returns the account of the log-in that agentproxy login makes for the
// default principal, whichever that uses. It must be closed.
func (a *App) OpenOwnLogin() *Account {
	s := a.accountSettings(&a.Config.Agent)
	s.login, s.identity.AccessToken = Login{filepath.Join(s.identity.StateDir, "login"), true}, ""
	return a.openAccount(s)
}

// UsesOwnLogin reports whether the log-in is one of agentproxy login.
func (n *Account) UsesOwnLogin() bool { return n.settings.login.Own }
