package backend

// CodexVersion is the version of Codex whose protocol this package speaks.
const CodexVersion = "0.171.0"

// ABOM is the agent's bill of materials, sent when it is registered.
type ABOM struct {
	AgentVersion    string `json:"agent_version"`
	AgentHarnessID  string `json:"agent_harness_id"`
	RunningLocation string `json:"running_location"`
}

// NewABOM describes an agent of the given version, started from source ("cli",
// "vscode"), on the system that Go calls goos. Codex names systems as Rust does,
// and its VS Code extension counts as the app.
func NewABOM(version, source, goos string) ABOM {
	harness := "codex-cli"
	if source == "vscode" {
		harness = "codex-app"
	}
	if goos == "darwin" {
		goos = "macos"
	}
	return ABOM{version, harness, source + "-" + goos}
}
