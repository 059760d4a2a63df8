//go:build unix && !linux

package main

import "os/exec"

func setParentDeathSignal(*exec.Cmd) {}
