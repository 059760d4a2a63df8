//go:build unix && !linux

package launch

import "os/exec"

func setParentDeathSignal(*exec.Cmd) {}

// adoptOrphans does nothing: what a command leaves behind goes on.
func adoptOrphans() (end func(), err error) { return func() {}, nil }
