package doctor

import (
	"errors"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/launch"
)

// checkIsolation finds how agentproxy run would keep its command from the log-in.
func (k *checker) checkIsolation() {
	const check = "isolation"
	mode := config.Isolation(k.config.Run.Isolate)
	if mode == config.IsolateOff {
		k.warn(check, k.set("set run.isolate to auto"), "run.isolate is off: the command of agentproxy run can read the log-in in the Codex home")
		return
	}
	err := launch.Probe(mode == config.IsolateNet)
	unsupported, ok := errors.AsType[*launch.Unsupported](err)
	switch {
	case err == nil:
		k.ok(check, "agentproxy run keeps the log-in from its command by namespaces of the kernel")
		if sockets := launch.EngineSockets(k.env.Get); len(sockets) > 0 {
			k.warn(check, k.set("name it in run.hide to hide it"), "the command of agentproxy run can use the container engine at %s, which reads any file", sockets[0])
		}
	case !ok:
		k.warn(check, do(k.own("run", "--isolate", "always", "--", "true")), "not tried: %s", err)
	case mode == config.IsolateAuto:
		k.warn(check, k.remedyIsolation(unsupported), "the command of agentproxy run can read the log-in in the Codex home: the kernel refuses namespaces (%s)", unsupported.Reason)
	default:
		k.fail(check, k.remedyIsolation(unsupported), "run.isolate is %s, but the kernel refuses namespaces (%s)", mode, unsupported.Reason)
	}
}

// remedyIsolation returns how to allow what the kernel has refused.
func (k *checker) remedyIsolation(e *launch.Unsupported) remedy {
	if words, setting, ok := strings.Cut(e.Remedy, ": sysctl "); ok {
		return remedy{words, "sudo sysctl -w " + setting}
	}
	if strings.Contains(e.Remedy, "AppArmor") {
		return remedy{e.Remedy, "sudo install -m 644 deploy/apparmor/agentproxy /etc/apparmor.d/agentproxy && sudo apparmor_parser -r /etc/apparmor.d/agentproxy"}
	}
	return remedy{e.Remedy + "; to try it", k.own("run", "--isolate", "always", "--", "true")}
}
