package doctor

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/codexhome"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// checkBypasses finds what in the Codex home leads Codex past the proxy, or to another
// log-in.
func (k *checker) checkBypasses() {
	const check = "Codex home"
	home := k.config.Agent.Identity.CodexHome
	for _, b := range clientenv.Bypasses(k.config) {
		k.warn(check, remedy{b.Remedy, b.Command}, "%s", b.What)
	}
	store, file, err := codexhome.CredentialsStore(home)
	auth := filepath.Join(home, "auth.json")
	_, authErr := os.Stat(auth)
	switch {
	case err != nil:
		k.warn(check, do(editor(file)), "%s cannot be understood: %s", file, safefile.Cause(err))
	case store == codexhome.StoreKeyring && authErr == nil:
		k.warn(check, remedy{"set cli_auth_credentials_store to file", editor(file)}, "%s has Codex keep its log-in in the keyring and ignore %s; agentproxy reads the file first", file, auth)
	case store == codexhome.StoreKeyring || store == codexhome.StoreAuto:
		k.warn(check, remedy{"set cli_auth_credentials_store to file, and log in again", editor(file)}, "%s has Codex keep its log-in in the keyring, which programs of this user can read while it is open", file)
	case store == codexhome.StoreEphemeral:
		k.warn(check, k.remedyOwnLogin(), "%s has Codex keep its log-in in memory only, where agentproxy cannot read it", file)
	}
	k.checkLoginFile(auth)
	if !k.found(check) {
		k.ok(check, "nothing in %s leads Codex past the proxy", home)
	}
}

// checkLoginFile finds whether others may use the log-in of Codex.
func (k *checker) checkLoginFile(auth string) {
	const check = "Codex home"
	for _, path := range []string{auth, filepath.Dir(auth)} {
		info, err := os.Stat(path)
		if err != nil {
			continue // what reads the log-in will tell
		}
		tooWide := safefile.BeyondOwner
		if info.IsDir() {
			tooWide = safefile.OthersWrite
		}
		if e, ok := errors.AsType[*safefile.ModeError](safefile.CheckMode(path, info, tooWide)); ok {
			what := "others may read or write the log-in in %s (mode %04o)"
			if info.IsDir() {
				what = "others may replace the log-in in %s (mode %04o)"
			}
			k.fail(check, do(k.chmod(check, e)), what, path, e.Perm)
		}
		if uid, ok := safefile.OwnerOf(info); ok && int(uid) != os.Geteuid() && uid != 0 && os.Geteuid() != 0 {
			k.warn(check, do("ls -ld "+quote(path)), "%s belongs to user %d, who can replace the log-in", path, uid)
		}
	}
}

// isEphemeral reports whether Codex keeps no log-in that could be read.
func (k *checker) isEphemeral() bool {
	store, _, err := codexhome.CredentialsStore(k.config.Agent.Identity.CodexHome)
	return err == nil && store == codexhome.StoreEphemeral
}
