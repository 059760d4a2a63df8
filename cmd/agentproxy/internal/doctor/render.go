package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/logline"
)

// Style is how findings are shown.
type Style int

// The styles.
const (
	// Plain has a line for each finding, which begins with a word. It is for programs and
	// does not change.
	Plain Style = iota
	// Marked has ✓, ! or ✗ at the beginning, and what to do on a line of its own.
	Marked
	// Coloured is Marked in colour.
	Coloured
	// JSON is an array in JSON.
	JSON
)

// StyleFor returns the style for a stream: marks on a terminal, in colour unless NO_COLOR
// (no-color.org) forbids it, and words elsewhere.
func StyleFor(stream any, env cli.Environment) Style {
	switch {
	case !cli.IsTerminal(stream) || env.Get("TERM") == "dumb":
		return Plain
	case env.Get("NO_COLOR") != "":
		return Marked
	}
	return Coloured
}

// marks are what findings begin with on a terminal.
var marks = map[string]struct{ mark, style string }{
	OK:      {"✓", logline.Green},
	Warning: {"!", logline.Yellow},
	Failed:  {"✗", logline.Red},
	Fixed:   {"✓", logline.Cyan},
}

// Render writes the findings. Marked and coloured ones have a line at the end that sums them
// up.
func (r Report) Render(w io.Writer, s Style) error {
	if s == JSON {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r.Findings)
	}
	var b strings.Builder
	for _, f := range r.Findings {
		if s == Plain {
			b.WriteString(f.line() + "\n")
			continue
		}
		b.WriteString(f.marked(logline.Palette(s == Coloured)))
	}
	if s != Plain {
		b.WriteString("\n" + r.sum() + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// line returns the finding on one line.
func (f Finding) line() string {
	line := fmt.Sprintf("%-8s %-15s %s", f.Status, f.Check, f.Message)
	if f.Remedy != "" {
		line += "; " + f.Remedy
	}
	switch {
	case f.Command == "" || strings.Contains(line, f.Command):
	case f.Remedy != "":
		line += ": " + f.Command
	default:
		line += "; run: " + f.Command
	}
	return cli.Printable(line)
}

// marked returns the finding for a terminal.
func (f Finding) marked(p logline.Palette) string {
	m := marks[f.Status]
	text := fmt.Sprintf("%s %-15s %s\n", p.Paint(m.style, m.mark), f.Check, cli.Printable(f.Message))
	const indent = "                  "
	switch {
	case f.Remedy != "" && f.Command != "" && !strings.Contains(f.Remedy, f.Command):
		text += indent + cli.Printable(f.Remedy) + ":\n" + indent + p.Paint(logline.Bold, "→ "+cli.Printable(f.Command)) + "\n"
	case f.Command != "":
		text += indent + p.Paint(logline.Bold, "→ "+cli.Printable(f.Command)) + "\n"
	case f.Remedy != "":
		text += indent + "→ " + cli.Printable(f.Remedy) + "\n"
	}
	return text
}

// sum returns how many findings there are of each kind.
func (r Report) sum() string {
	n := make(map[string]int)
	for _, f := range r.Findings {
		n[f.Status]++
	}
	words := []string{fmt.Sprintf("%d ok", n[OK])}
	if n[Fixed] > 0 {
		words = append(words, fmt.Sprintf("%d fixed", n[Fixed]))
	}
	words = append(words, count(n[Warning], "warning", "warnings"), fmt.Sprintf("%d failed", n[Failed]))
	return strings.Join(words, ", ")
}
