// Package agentlogin knows where agents other than Codex keep a ChatGPT log-in, and what
// they are shown in its place.
package agentlogin

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// Agent is a program that keeps log-ins in a JSON file, one for each provider of models.
type Agent struct {
	// Name is what the program is called.
	Name string
	// provider is the key of the ChatGPT log-in in the file.
	provider string
	// dir returns the directory of the file, "" if it is not known.
	dir func(getenv func(string) string) string
	// variable holds the file's content in its place, if the agent knows such a variable.
	// Others know dirVariable, which names the directory, in which they make makesDirs and
	// makesFiles.
	variable, dirVariable string
	makesDirs, makesFiles []string
}

// fileName is the name of the file with the log-ins, which all agents share.
const fileName = "auth.json"

// Agents returns the agents that are known: pi (npm: @mariozechner/pi-coding-agent 0.73) and
// opencode (npm: opencode-ai 1.18).
func Agents() []Agent {
	return []Agent{
		{
			Name: "pi", provider: "openai-codex",
			dir: func(getenv func(string) string) string {
				dir := getenv("PI_CODING_AGENT_DIR")
				if rest, ok := strings.CutPrefix(dir, "~"); ok && (rest == "" || rest[0] == '/') {
					return below(getenv("HOME"), rest)
				}
				if dir != "" {
					return dir
				}
				return below(getenv("HOME"), ".pi/agent")
			},
			dirVariable: "PI_CODING_AGENT_DIR",
			makesDirs:   []string{"bin", "sessions"},
			makesFiles:  []string{"settings.json", "models.json", "keybindings.json", "pi-debug.log"},
		},
		{
			Name: "opencode", provider: "openai",
			dir: func(getenv func(string) string) string {
				if dir := getenv("XDG_DATA_HOME"); dir != "" {
					return filepath.Join(dir, "opencode")
				}
				return below(getenv("HOME"), ".local/share/opencode")
			},
			variable: "OPENCODE_AUTH_CONTENT",
		},
	}
}

// below returns the path of rel in home, "" if there is no home.
func below(home, rel string) string {
	if home == "" {
		return ""
	}
	return filepath.Join(home, rel)
}

// Find returns the agent with a name.
func Find(name string) (Agent, bool) {
	for _, a := range Agents() {
		if a.Name == name {
			return a, true
		}
	}
	return Agent{}, false
}

// File returns the path of the file with the log-ins, "" if it is not known.
func (a Agent) File(getenv func(string) string) string {
	dir := a.dir(getenv)
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, fileName)
}

// Is reports whether a command is the agent's.
func (a Agent) Is(command string) bool {
	base := filepath.Base(command)
	return strings.TrimSuffix(base, filepath.Ext(base)) == a.Name
}

// errUnclear is the error of files that cannot be understood. What is wrong with one may quote
// a token.
var errUnclear = errors.New("it holds no JSON object, or one with a name twice")

// HoldsLogin reports whether a file holds a ChatGPT log-in that is no placeholder. One that
// cannot be understood may hold one, and is an error.
func (a Agent) HoldsLogin(file []byte) (bool, error) {
	edit, err := parse(file)
	if err != nil {
		return false, err
	}
	old := edit.Get(a.provider)
	l := decode(old)
	return old != nil && !l.isKey() && !(identity.IsPlaceholder(l.Access) && l.Refresh == identity.PlaceholderMark), nil
}

// Cover returns a file with a placeholder in the place of its ChatGPT log-in, or beside the
// log-ins at other providers if it has none. No server accepts what the placeholder holds.
// A key of another kind for the same provider stays what it is.
func (a Agent) Cover(file []byte, acct identity.Account, now time.Time) ([]byte, error) {
	edit, err := parse(file)
	if err != nil {
		return nil, err
	}
	if decode(edit.Get(a.provider)).isKey() {
		return file, nil
	}
	token, expiry, err := codex.PlaceholderToken(acct, now)
	if err != nil {
		return nil, err
	}
	entry, err := json.Marshal(login{oauth, token, identity.PlaceholderMark, expiry.UnixMilli(), acct.WorkspaceID})
	if err != nil {
		return nil, err
	}
	edit.Set(a.provider, entry)
	return edit.Indented()
}

// login is a log-in in the file of an agent.
type login struct {
	Type      string `json:"type"`
	Access    string `json:"access"`
	Refresh   string `json:"refresh"`
	Expires   int64  `json:"expires"` // in milliseconds since 1970
	AccountID string `json:"accountId"`
}

// oauth is the type of a log-in that has tokens.
const oauth = "oauth"

// isKey reports whether l is no log-in, but a key for an API or the like.
func (l login) isKey() bool { return l.Type != "" && l.Type != oauth }

// decode returns the log-in in raw, as far as it is one.
func decode(raw json.RawMessage) login {
	var l login
	_ = json.Unmarshal(raw, &l)
	return l
}

func parse(file []byte) (strictjson.Edit, error) {
	if len(file) == 0 {
		file = []byte("{}")
	}
	edit, err := strictjson.ParseEdit(file)
	if err != nil {
		return nil, errUnclear
	}
	seen := make(map[string]bool)
	for _, m := range edit {
		if seen[m.Name] {
			return nil, errUnclear
		}
		seen[m.Name] = true
	}
	return edit, nil
}
