//go:build man

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// manCommands returns the command with which make man writes the manual pages. The tag man
// keeps it and its Markdown renderer out of the program.
func manCommands() []*cobra.Command {
	return []*cobra.Command{{
		Use:    "man DIR DATE",
		Short:  "Write the manual pages into DIR, which exists",
		Hidden: true,
		Args:   cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := time.Parse(time.DateOnly, args[1])
			if err != nil {
				return err
			}
			cmd.Root().Long += manSections
			return writePages(cmd.Root(), args[0], date)
		},
	}}
}

// manSections are the sections of agentproxy(1) that agentproxy help lacks.
const manSections = `

# EXIT STATUS
0, 1 if it failed, 2 for wrong usage or configuration. **agentproxy run** ends as its command does.

# ENVIRONMENT
**AGENTPROXY_CONFIG** names the configuration, or none; **AGENTPROXY_LISTEN**, **AGENTPROXY_ADMIN**, **AGENTPROXY_STATE_DIR**, **AGENTPROXY_OTHER_HOSTS** override what is in it;
**CODEX_HOME** is where Codex's log-in is.

# FILES
**~/.config/agentproxy/config.yaml** (below **$XDG_CONFIG_HOME** if that is set) is the configuration, if it is there and no other is named.

**~/.local/state/agentproxy** (below **$XDG_STATE_HOME** if that is set) holds the certificate authority, the agent identity and
its tasks. **~/.codex/auth.json** is Codex's log-in.
`

// writePages writes a page for cmd and one for each command below it.
func writePages(cmd *cobra.Command, dir string, date time.Time) error {
	for _, sub := range cmd.Commands() {
		if !sub.IsAvailableCommand() {
			continue
		}
		if err := writePages(sub, dir, date); err != nil {
			return err
		}
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	header := &doc.GenManHeader{
		Title:   strings.ToUpper(name),
		Section: "1",
		Date:    &date,
		Source:  "agentproxy",
		Manual:  "agentproxy",
	}
	cmd.DisableAutoGenTag = true
	cmd.Long = regexp.MustCompile(`(?m)^  `).ReplaceAllString(cmd.Long, "    ") // Markdown's blocks of code
	var page bytes.Buffer
	if err := doc.GenMan(cmd, header, &page); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return os.WriteFile(filepath.Join(dir, name+".1"), tidyPage(page.String(), date), 0o644)
}

// tidyPage mends what the checks of mandoc and man complain of.
func tidyPage(page string, date time.Time) []byte {
	page = strings.Replace(page, `"`+date.Format("Jan 2006")+`"`, `"`+date.Format(time.DateOnly)+`"`, 1)
	page = strings.NewReplacer(`[=false]`, "", `=""`, "", "=[]", "").Replace(page)
	page = regexp.MustCompile(`(?m)^(?:\.PP\n)?(\\fB-.*)\n\t`).ReplaceAllString(page, ".TP\n$1\n")
	return []byte(page)
}
