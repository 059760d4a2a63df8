package clientenv

import (
	"fmt"
	"os"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// parentName returns the name of the program that started this one, "" if it is not known.
func parentName() string {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", os.Getppid()))
	if err != nil {
		return ""
	}
	return cli.Printable(strings.TrimSpace(string(raw)))
}
