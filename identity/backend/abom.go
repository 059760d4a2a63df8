package backend

// CodexVersion is the version of Codex that this package speaks the protocol of.
const CodexVersion = "0.171.0"

// ABOM is an agent's bill of materials, which is sent when the agent is registered.
type ABOM struct {
	AgentVersion    string `json:"agent_version"`
	AgentHarnessID  string `json:"agent_harness_id"`
	RunningLocation string `json:"running_location"`
}

// NewABOM returns the bill of materials of an agent of this version, which was started
// from source ("cli" or "vscode") on the system that Go calls goos. Codex names systems
// as Rust does, and its VS Code extension counts as the app.
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
