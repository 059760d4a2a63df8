// Package configfile has what users see of the configuration file besides its keys: its JSON
// schema, a template of it, and what is in force.
package configfile

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
)

// Show writes settings as a configuration file, with where each comes from in a comment.
func Show(out io.Writer, settings []config.Setting) error {
	w := bufio.NewWriter(out)
	for _, s := range settings {
		depth := strings.Count(s.Path, ".")
		indent := strings.Repeat("  ", depth)
		name := indent + s.Path[strings.LastIndex(s.Path, ".")+1:] + ":"
		if s.Origin == "" { // a section
			fmt.Fprintln(w, name)
			continue
		}
		raw, err := yaml.MarshalWithOptions(s.Value, yaml.Indent(2), yaml.IndentSequence(false), yaml.Flow(isFlat(s.Value)))
		if err != nil {
			return fmt.Errorf("%s: %w", s.Path, err)
		}
		value := strings.TrimRight(string(raw), "\n")
		if !strings.Contains(value, "\n") && isFlat(s.Value) {
			fmt.Fprintf(w, "%-40s # %s\n", name+" "+value, s.Origin)
			continue
		}
		fmt.Fprintf(w, "%-40s # %s\n", name, s.Origin)
		for line := range strings.Lines(value) {
			fmt.Fprintln(w, indent+"  "+strings.TrimRight(line, "\n"))
		}
	}
	return w.Flush()
}

// isFlat reports whether a value holds no mapping, and so fits on a line.
func isFlat(value any) bool {
	switch value := value.(type) {
	case yaml.MapSlice:
		return len(value) == 0
	case []any:
		for _, element := range value {
			if !isFlat(element) {
				return false
			}
		}
	}
	return true
}
