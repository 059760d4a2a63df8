package config

import (
	"maps"
	"slices"
	"strings"
)

// SecretPaths returns the files and directories that hold secrets of any profile besides
// the state directory, and the configuration itself, which may hold tokens.
func (c *Config) SecretPaths() []string {
	f, paths := c.file, []string{c.source.path}
	for _, listen := range []string{f.Listen, f.Admin, f.Authz.Listen, f.Exchange.Listen} {
		path, _ := strings.CutPrefix(listen, "unix:")
		if path != listen {
			paths = append(paths, path)
		}
	}
	named := f.paths()
	for _, key := range slices.Sorted(maps.Keys(named)) {
		if key != "state_dir" && !strings.HasSuffix(key, "ca_file") && !strings.HasSuffix(key, ".command") {
			paths = append(paths, *named[key])
		}
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
