package configfile

import (
	"regexp"
	"strings"

	"github.com/agentproxy/agentproxy"
)

// SchemaName is the name of the file with the schema beside a template.
const SchemaName = "agentproxy.schema.json"

// keyLine is a line of the example with a key.
var keyLine = regexp.MustCompile(`^( *)([a-z_]+):( ?)(.*)$`)

// Template returns a configuration file that has every key with its explanation and its
// default in a comment. It changes nothing until a line is uncommented. schema is the path of
// the schema that editors find in it.
func Template(schema string) string {
	_, body, _ := strings.Cut(agentproxy.ExampleConfig(), "\n\n")
	var b strings.Builder
	b.WriteString("# yaml-language-server: $schema=" + schema + "\n" + `
# The configuration of agentproxy. Each key is shown with its default, behind a "#": remove that, and change the value.
# agentproxy config check names what is wrong with this file, and agentproxy config show says what is in force.

`)
	for line := range strings.Lines(body) {
		m := keyLine.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m != nil && m[4] != "" {
			line = m[1] + "#" + strings.TrimPrefix(line, m[1])
		}
		b.WriteString(line)
	}
	return b.String()
}

// Explanations returns what the example says of each key.
func Explanations() map[string]string {
	_, body, _ := strings.Cut(agentproxy.ExampleConfig(), "\n\n")
	said := make(map[string]string)
	var sections []string
	comment, shared := "", ""
	for line := range strings.Lines(body) {
		line = strings.TrimRight(line, "\n")
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "#"); ok {
			if comment != "" {
				comment += separator(comment, text)
			}
			comment += strings.TrimPrefix(text, " ")
			continue
		}
		m := keyLine.FindStringSubmatch(line)
		if m == nil {
			comment, shared = "", ""
			continue
		}
		sections = append(sections[:len(m[1])/2], m[2])
		if comment == "" && m[4] != "" {
			comment = shared // of several keys in a row
		}
		said[strings.Join(sections, ".")] = comment
		comment, shared = "", comment
	}
	return said
}

// separator returns what stands between two lines of a comment. Examples, which are
// indented, have lines of their own.
func separator(before, text string) string {
	last := before[strings.LastIndex(before, "\n")+1:]
	if strings.HasPrefix(text, "   ") || strings.HasPrefix(last, "  ") {
		return "\n"
	}
	return " "
}
