//go:build !linux

package main

import (
	"runtime"

	"github.com/agentproxy/agentproxy/certs"
)

func openSystemStore() (trustStore, error) {
	changes := "the system's root certificates"
	switch runtime.GOOS {
	case "darwin":
		changes = "the system's keychain, as root by way of sudo"
	case "windows":
		changes = "the root certificates of this user"
	}
	return trustStore{name: systemStore, changes: changes, holds: certs.SystemTrusts, traces: certs.SystemTrusts}, nil
}
