package doctor

import (
	"errors"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/launch"
)

// checkIsolation finds how agentproxy run would keep its command from the log-in.
func (k *checker) checkIsolation() {
	const check = "isolation"
	mode := config.Isolation(k.app.Config.Run.Isolate)
	if mode == config.IsolateOff {
		k.warn(check, "set run.isolate to auto", "run.isolate is off: the command of agentproxy run can read the log-in in the Codex home")
		return
	}
	err := launch.Probe(mode == config.IsolateNet)
	unsupported, ok := errors.AsType[*launch.Unsupported](err)
	switch {
	case err == nil:
		k.ok(check, "agentproxy run keeps the log-in from its command by namespaces of the kernel")
		if sockets := launch.EngineSockets(k.env.Get); len(sockets) > 0 {
			k.warn(check, "name it in run.hide to hide it", "its command can use the container engine at %s, which reads any file", sockets[0])
		}
	case !ok:
		k.warn(check, "", "not tried: %s", err)
	case mode == config.IsolateAuto:
		k.warn(check, unsupported.Remedy, "the command of agentproxy run can read the log-in in the Codex home: the kernel refuses namespaces (%s)", unsupported.Reason)
	default:
		k.fail(check, unsupported.Remedy, "run.isolate is %s, but the kernel refuses namespaces (%s)", mode, unsupported.Reason)
	}
}

// checkBypasses finds what in the Codex home leads Codex past the proxy.
func (k *checker) checkBypasses() {
	found := clientenv.Bypasses(k.app.Config)
	for _, b := range found {
		k.warn("Codex home", b.Remedy, "%s", b.What)
	}
	if len(found) == 0 {
		k.ok("Codex home", "nothing in %s leads Codex past the proxy", k.app.Config.Agent.Identity.CodexHome)
	}
}
