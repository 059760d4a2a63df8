package main

import (
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/agentproxy/agentproxy/identity"
)

// The values of identity.login.
const (
	loginAuto  = "auto"
	loginOwn   = "own"   // that of agentproxy login
	loginCodex = "codex" // that in identity.codex_home
)

// ownLoginDir is where agentproxy login keeps a log-in.
func (c *config) ownLoginDir() string { return filepath.Join(c.identityDir(), "login") }

// loginPlace is where a log-in is.
type loginPlace struct {
	dir string
	own bool // of agentproxy, which nothing else uses
}

// findLogin returns where the log-in is: where identity.login says, else in
// identity.codex_home if that is named, else in agentproxy's own place if it is not
// empty, else otherwise.
func (c *config) findLogin(otherwise loginPlace) loginPlace {
	own := loginPlace{c.ownLoginDir(), true}
	switch {
	case c.Identity.Login == loginOwn:
		return own
	case c.Identity.Login == loginCodex || c.homeNamed:
		return loginPlace{dir: c.Identity.CodexHome}
	}
	// Whoever watches what is read takes a log-in up when it comes.
	if _, err := c.read(filepath.Join(own.dir, identity.LoginMark)); !errors.Is(err, fs.ErrNotExist) {
		return own
	}
	return otherwise
}

// checkUsesOwnLogin says why a log-in of agentproxy's own would not be used.
func (c *config) checkUsesOwnLogin() error {
	switch {
	case c.Identity.File != "":
		return errors.New("identity.file is set, which holds the identity; leave it out to use a log-in of agentproxy login")
	case c.Identity.Login == loginCodex:
		return errors.New("identity.login is codex; set it to own to use a log-in of agentproxy login")
	case c.Identity.Login == loginAuto && c.homeNamed:
		return errors.New("identity.codex_home is set, whose log-in is used; set identity.login: own to use one of agentproxy login")
	}
	return nil
}
