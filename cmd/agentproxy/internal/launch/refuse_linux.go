package launch

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// startRefusal returns why namespaces cannot be made.
func startRefusal(err error) *Unsupported { return refusal("user namespaces", cli.SyscallError(err)) }

// refusal returns what the kernel refuses, with a remedy.
func refusal(step string, err error) *Unsupported {
	reason := fmt.Sprintf("%s: %v", step, err)
	if isExhausted(err) {
		return &Unsupported{reason, "end programs that use up what COMMAND needs to be isolated, and start it again", true}
	}
	return &Unsupported{reason, remedy(err), false}
}

// isExhausted reports whether err says that a resource is used up.
func isExhausted(err error) bool {
	usedUp := []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EAGAIN}
	return slices.ContainsFunc(usedUp, func(errno unix.Errno) bool { return errors.Is(err, errno) }) ||
		errors.Is(err, unix.ENOSPC) && setting("user/max_user_namespaces") != "0"
}

// setting returns the content of a file below /proc/sys, "" if there is none.
func setting(name string) string {
	raw, _ := os.ReadFile("/proc/sys/" + name)
	return strings.TrimSpace(string(raw))
}

// remedy returns what to do where the kernel refuses namespaces with err.
func remedy(err error) string {
	refused := errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
	switch {
	case setting("user/max_user_namespaces") == "0", errors.Is(err, unix.EUSERS):
		return "allow user namespaces: sysctl user.max_user_namespaces=10000"
	case setting("kernel/unprivileged_userns_clone") == "0":
		return "allow user namespaces: sysctl kernel.unprivileged_userns_clone=1"
	case refused && setting("kernel/apparmor_restrict_unprivileged_userns") == "1":
		return "install the AppArmor profile that docs/install.md has, which allows agentproxy user namespaces"
	case refused:
		return "in a container, allow user namespaces, or run the proxy outside of it (docs/sidecar.md)"
	}
	return "use a newer kernel"
}
