package main

import (
	"os/exec"
	"syscall"
)

func setParentDeathSignal(child *exec.Cmd) {
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
}
