package launch

import (
	"slices"
	"strings"
)

// credentialVariables hold a credential, or lead to one, that Codex would prefer to
// auth.json.
var credentialVariables = []string{
	"CODEX_API_KEY", "CODEX_ACCESS_TOKEN",
	"OPENAI_IDENTITY_TOKEN_FILE", "OPENAI_FEDERATION_RULE_ID",
}

// busVariables lead to the session bus, on which the keyring answers.
var busVariables = []string{"DBUS_SESSION_BUS_ADDRESS", "GNOME_KEYRING_CONTROL"}

// ownPrefix begins the names of this program's own variables.
const ownPrefix = "AGENTPROXY_"

// Environment says which of its run's variables a command gets.
type Environment struct {
	Secret []string // hold a secret of the configuration
	Pass   []string // are passed although they hold a credential
	Drop   []string // are dropped besides
	Bus    bool     // whether the session bus is left alone
}

// Filter returns environ without what the command must not have, and the names of
// the credentials and secrets that were dropped.
func (e Environment) Filter(environ []string) (kept, dropped []string) {
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		secret := slices.Contains(e.Secret, name) || slices.Contains(credentialVariables, name)
		bus := !e.Bus && slices.Contains(busVariables, name)
		switch {
		case slices.Contains(e.Drop, name):
		case slices.Contains(e.Pass, name):
			kept = append(kept, entry)
		case secret:
			if value != "" {
				dropped = append(dropped, name)
			}
		case bus || strings.HasPrefix(name, ownPrefix):
		default:
			kept = append(kept, entry)
		}
	}
	return kept, dropped
}

// SetVariable returns environ with name set to value.
func SetVariable(environ []string, name, value string) []string {
	kept := slices.DeleteFunc(slices.Clone(environ), func(entry string) bool {
		return strings.HasPrefix(entry, name+"=")
	})
	return append(kept, name+"="+value)
}
