package config

import "fmt"

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
	switch i := Isolation(name); i {
	case IsolateAuto, IsolateAlways, IsolateNet, IsolateOff:
		return i, nil
	}
	return "", fmt.Errorf("%q is none of auto, always, net, off", name)
}
