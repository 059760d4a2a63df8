//go:build !linux

package launch

// CodexServers returns none: only Linux tells.
func CodexServers(string) []CodexServer { return nil }
