// Package codes explains the codes of refusals, in the words of docs/troubleshooting.md.
package codes

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy"
)

// Code is the code of a refusal.
type Code struct {
	Name     string // as error.code in the body has it
	Statuses string // of HTTP that it comes with, such as "400, 407"
	Section  string // of the document
	Text     string // in Markdown: what to do, and why
}

// heading begins what the document says of a code.
var heading = regexp.MustCompile("^### `([a-z_]+)` \\(([0-9, ]+)\\)$")

// All returns the codes in the order of the document.
func All() []Code { return parse(agentproxy.Troubleshooting()) }

func parse(document string) (all []Code) {
	section, inside := "", false
	for line := range strings.Lines(document) {
		line = strings.TrimRight(line, "\r\n")
		switch m := heading.FindStringSubmatch(line); {
		case m != nil:
			all, inside = append(all, Code{Name: m[1], Statuses: m[2], Section: section}), true
		case strings.HasPrefix(line, "## "):
			section, inside = strings.TrimPrefix(line, "## "), false
		case strings.HasPrefix(line, "#"):
			inside = false
		case inside:
			all[len(all)-1].Text += line + "\n"
		}
	}
	for i := range all {
		all[i].Text = strings.Trim(all[i].Text, "\n")
	}
	return all
}

// Names returns the names of the codes, in the order of the document.
func Names() (names []string) {
	for _, c := range All() {
		names = append(names, c.Name)
	}
	return names
}

// Find returns the code of a name, however it is spelled: in capitals, or with "-" for "_".
func Find(name string) (Code, bool) {
	name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "_")
	for _, c := range All() {
		if c.Name == name {
			return c, true
		}
	}
	return Code{}, false
}

// List returns the codes, a line each below the sections that they stand in. With a status of
// HTTP it returns those that come with it, "" if none does.
func List(status string) string {
	var out strings.Builder
	section := ""
	for _, c := range All() {
		if status != "" && !slices.Contains(strings.Split(c.Statuses, ", "), status) {
			continue
		}
		if c.Section != section {
			section = c.Section
			out.WriteString(section + "\n")
		}
		fmt.Fprintf(&out, "  %-24s %s\n", c.Name, c.Statuses)
	}
	return out.String()
}

// link is a link of Markdown.
var link = regexp.MustCompile(`\[([^\]]+)\]\(([^)]+)\)`)

// Plain returns the text for a terminal of that many columns: paragraphs and lists are
// filled, and links are the files that they lead to.
func (c Code) Plain(columns int) string {
	text := link.ReplaceAllStringFunc(c.Text, func(s string) string {
		m := link.FindStringSubmatch(s)
		switch {
		case strings.Contains(m[2], "://"):
			return m[1] + " (" + m[2] + ")"
		case m[1] == m[2]:
			return "docs/" + m[2]
		}
		return m[1] + " (docs/" + m[2] + ")"
	})
	var out strings.Builder
	for i, block := range blocks(text) {
		if i > 0 && !strings.HasPrefix(block, "- ") {
			out.WriteString("\n")
		}
		fill(&out, block, columns)
	}
	return out.String()
}

// blocks returns the paragraphs and the entries of lists in a text, a line each.
func blocks(text string) (found []string) {
	open := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
			open = false
		case open && !strings.HasPrefix(line, "- "):
			found[len(found)-1] += " " + line
		default:
			found, open = append(found, line), true
		}
	}
	return found
}

// fill writes a block in lines of that many columns, but for words that are longer. What
// follows the first line of an entry of a list is indented.
func fill(out *strings.Builder, block string, columns int) {
	indent := ""
	if strings.HasPrefix(block, "- ") {
		indent = "  "
	}
	line := ""
	for word := range strings.FieldsSeq(block) {
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) > columns:
			out.WriteString(line + "\n")
			line = indent + word
		default:
			line += " " + word
		}
	}
	out.WriteString(line + "\n")
}
