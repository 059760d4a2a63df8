//go:build !linux && !windows

package clientenv

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// parentName returns the path of the program that started this one, "" if it is not known.
func parentName() string {
	out, err := exec.Command("ps", "-o", "comm=", "-p", strconv.Itoa(os.Getppid())).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}
