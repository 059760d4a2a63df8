//go:build !linux

package truststore

import (
	"runtime"

	"github.com/agentproxy/agentproxy/certs"
)

func openSystem() (Store, error) {
	changes := "the system's root certificates"
	switch runtime.GOOS {
	case "darwin":
		changes = "the system's keychain, as root by way of sudo"
	case "windows":
		changes = "the root certificates of this user"
	}
	return Store{name: systemName, changes: changes, holds: certs.SystemTrusts, traces: certs.SystemTrusts}, nil
}
