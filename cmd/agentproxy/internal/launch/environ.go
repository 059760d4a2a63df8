package launch

import (
	"slices"
	"strings"
)

// credentialVariables hold a credential that Codex prefers to auth.json, or lead to one.
var credentialVariables = []string{
	"CODEX_API_KEY", "CODEX_ACCESS_TOKEN",
	"OPENAI_IDENTITY_TOKEN_FILE", "OPENAI_FEDERATION_RULE_ID",
}

// busVariables lead to the session bus, and so to the keyring.
var busVariables = []string{"DBUS_SESSION_BUS_ADDRESS", "GNOME_KEYRING_CONTROL"}

// ownPrefix begins the names of this program's own variables.
const ownPrefix = "AGENTPROXY_"

// Environment says which variables of its run a command gets.
type Environment struct {
	Secret []string // hold a secret of the configuration
	Pass   []string // are passed although they hold a credential
	Drop   []string // are dropped in any case
	Bus    bool     // whether the command may use the session bus
}

// Filter returns the variables of environ that the command gets, and the names of those with
// credentials and secrets that were dropped.
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
