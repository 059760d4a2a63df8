package config

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// paths returns where the paths of files, directories and programs are kept, by key.
func (f *File) paths() map[string]*string {
	paths := map[string]*string{
		"state_dir": &f.StateDir, "identity.codex_home": &f.Identity.CodexHome, "identity.file": &f.Identity.File,
		"clients.token_file": &f.Clients.TokenFile, "clients.tokens_file": &f.Clients.TokensFile, "clients.issued_key_file": &f.Clients.IssuedKey,
		"clients.issued_revoked_file": &f.Clients.IssuedRevoked,
		"admin_token_file":            &f.AdminTokenFile, "authz.token_file": &f.Authz.TokenFile,
		"upstream.ca_file": &f.Upstream.CAFile, "audit.file": &f.Audit.File, "usage.file": &f.Usage.File,
	}
	addSigner := func(key string, s *Signer) {
		if s == nil {
			return
		}
		add := func(key string, r *SignerRule) {
			paths[key+".token_file"] = &r.TokenFile
			if len(r.Command) > 0 && strings.ContainsAny(r.Command[0], `/`+string(filepath.Separator)) {
				paths[key+".command"] = &r.Command[0] // others are looked up in PATH
			}
		}
		add(key, &s.Default)
		for i := range s.Rules {
			add(element(key+".rules", i), &s.Rules[i].Signer)
		}
	}
	addSigner("signer", &f.Signer)
	for i := range f.Profiles {
		p, key := &f.Profiles[i], element("profiles", i)
		paths[key+".identity.codex_home"], paths[key+".identity.file"] = &p.Identity.CodexHome, &p.Identity.File
		addSigner(key+".signer", p.Signer)
	}
	for i := range f.Exchange.Issuers {
		issuer, key := &f.Exchange.Issuers[i], element("exchange.issuers", i)
		paths[key+".ca_file"], paths[key+".token_file"] = &issuer.CAFile, &issuer.TokenFile
	}
	return paths
}

// checkAbsolute returns an error for each path that begins where agentproxy is started. from
// has the keys that do not come from the file.
func (f *File) checkAbsolute(from map[string]string) error {
	var m mistakes
	paths := f.paths()
	for _, key := range slices.Sorted(maps.Keys(paths)) {
		if path := *paths[key]; path != "" && !filepath.IsAbs(path) && from[key] == "" {
			m.wrong(key, "%q begins in the directory in which agentproxy is started, where somebody else may have put such a file; in the default file write the path in full, or from ~/ on", path)
		}
	}
	return m.err()
}

// expandHome puts the home directory in the place of "~" at the beginning of paths, as a
// shell does.
func (f *File) expandHome(env cli.Environment) error {
	paths := f.paths()
	for i := range f.Run.Hide {
		paths[element("run.hide", i)] = &f.Run.Hide[i]
	}
	var m mistakes
	for _, key := range slices.Sorted(maps.Keys(paths)) {
		path := paths[key]
		rest, ok := strings.CutPrefix(*path, "~/")
		if !ok && *path != "~" {
			continue
		}
		home := env.First("HOME", "USERPROFILE") // of Windows
		if home == "" {
			m.wrong(key, "~ stands for the home directory, but HOME is not set; write the path in full")
			continue
		}
		*path = filepath.Join(home, strings.TrimPrefix(rest, "~"))
	}
	return m.err()
}
