package config

import (
	"errors"
	"path/filepath"
)

// The values of identity.login.
const (
	LoginAuto  = "auto"
	LoginOwn   = "own"   // that of agentproxy login
	LoginCodex = "codex" // that in identity.codex_home
)

// OwnLogin says which log-ins of agentproxy login are used in place of that in the Codex
// home.
type OwnLogin struct {
	// Dir is where the agent's own log-in is kept. Common is that of clients without a
	// profile, which stands in for a profile's. "" if it is not used.
	Dir, Common string
	// Only has the last of them used even if there is none.
	Only bool

	unused string // why Dir is "", "" if it is not
}

// ownLogin returns which log-ins an agent uses whose identity is kept in stateDir.
func (m agentMaker) ownLogin(stateDir string, k agentKeys) (OwnLogin, error) {
	common, err := newOwnLogin(filepath.Join(m.file.StateDir, "login"), m.file.Identity.Login, m.around.homeNamed)
	if err != nil || k.profileLogin == "" {
		return common, err
	}
	own, err := newOwnLogin(filepath.Join(stateDir, "login"), k.profileLogin, k.profileHome)
	if err == nil && own.Dir != "" && !own.Only {
		own.Common, own.Only = common.Dir, common.Only
	}
	return own, err
}

func newOwnLogin(dir, word string, homeNamed bool) (OwnLogin, error) {
	switch {
	case word == LoginOwn:
		return OwnLogin{Dir: dir, Only: true}, nil
	case word == LoginCodex:
		return OwnLogin{unused: "identity.login is codex; set it to own to use a log-in of agentproxy login"}, nil
	case word != LoginAuto:
		return OwnLogin{}, at("identity.login", checkWord(word, LoginAuto, LoginOwn, LoginCodex))
	case homeNamed:
		return OwnLogin{unused: "identity.codex_home is set, whose log-in is used; set identity.login: own to use one of agentproxy login"}, nil
	}
	return OwnLogin{Dir: dir}, nil
}

// CheckOwnLogin returns why a log-in of agentproxy login would not be used, nil if it
// would.
func (id Identity) CheckOwnLogin() error {
	if id.File != "" {
		return errors.New("identity.file is set, which holds the identity; leave it out to use a log-in of agentproxy login")
	}
	if id.OwnLogin.unused != "" {
		return errors.New(id.OwnLogin.unused)
	}
	return nil
}
