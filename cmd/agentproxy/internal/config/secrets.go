package config

import (
	"slices"
	"strings"
)

// SecretPaths returns the files and directories that hold secrets of any profile besides
// the state directory, and the configuration itself, which may hold tokens.
func (c *Config) SecretPaths() []string {
	f := c.file
	paths := []string{c.source.path, f.AdminTokenFile, f.Clients.TokenFile, f.Clients.TokensFile, f.Clients.IssuedKey, f.Clients.IssuedRevoked, f.Authz.TokenFile, f.Audit.File, f.Usage.File}
	for _, listen := range []string{f.Listen, f.Admin, f.Authz.Listen, f.Exchange.Listen} {
		path, _ := strings.CutPrefix(listen, "unix:")
		if path != listen {
			paths = append(paths, path)
		}
	}
	paths = append(paths, f.Identity.CodexHome, f.Identity.File)
	for _, p := range f.Profiles {
		paths = append(paths, p.Identity.CodexHome, p.Identity.File)
	}
	for _, s := range f.signers() {
		paths = append(paths, s.TokenFile)
	}
	for _, issuer := range f.Exchange.Issuers {
		paths = append(paths, issuer.TokenFile)
	}
	return withoutEmpty(paths)
}

// TokenVariables returns the variables that tokens of any profile come from.
func (c *Config) TokenVariables() (names []string) {
	for _, s := range c.file.signers() {
		names = append(names, s.TokenEnv)
	}
	return withoutEmpty(names)
}

// signers returns the signers of all profiles and of clients without one.
func (f *File) signers() []SignerRule {
	all := f.Signer.All()
	for _, p := range f.Profiles {
		if p.Signer != nil {
			all = append(all, p.Signer.All()...)
		}
	}
	return all
}

func withoutEmpty(list []string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return s == "" })
}
