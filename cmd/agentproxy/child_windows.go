package main

import "os/exec"

// runChild runs child to its end. The console sends its signals to the child
// itself.
func runChild(child *exec.Cmd) error { return exitStatus(child.Run()) }

func signalExitCode(*exec.ExitError) int { return exitFailed }
