package config

// Isolation says how agentproxy run keeps its command from the user's secrets.
type Isolation string

// The values of run.isolate.
const (
	IsolateAuto   Isolation = "auto"   // namespaces where the kernel allows them, else a private CODEX_HOME
	IsolateAlways Isolation = "always" // namespaces, or an error
	IsolateNet    Isolation = "net"    // namespaces, the network's too, or an error
	IsolateOff    Isolation = "off"    // a private CODEX_HOME
)

// ParseIsolation returns the isolation with a name.
func ParseIsolation(name string) (Isolation, error) {
	return Isolation(name), checkWord(name, string(IsolateAuto), string(IsolateAlways), string(IsolateNet), string(IsolateOff))
}
