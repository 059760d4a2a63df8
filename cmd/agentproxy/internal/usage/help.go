package usage

import (
	"fmt"

	"github.com/spf13/cobra"
)

// Long is what agentproxy says of itself.
const Long = `agentproxy keeps the ChatGPT log-in from coding agents. It is a forward proxy that
signs their requests to ChatGPT as your agent. The programs hold no credential.

See it work, on this machine alone:

  agentproxy demo

Log in once, with codex login or agentproxy login. Then use it in one of three ways:

  agentproxy run -- codex          one command, behind a proxy of its own
  agentproxy serve                 a proxy that stays; in each shell that is to use it:
                                   eval "$(agentproxy env)"
  agentproxy serve and a gateway   nginx, Caddy, Traefik or Envoy ask what to sign with

If something does not work: agentproxy check. What an error code means: agentproxy
explain CODE. No configuration is needed; agentproxy config init writes one.
Documents: https://github.com/agentproxy/agentproxy/tree/main/docs`

// groups are the groups of commands in the help, and the commands in each.
var groups = []struct {
	id, title string
	commands  []string
}{
	{"use", "Use it:", []string{"run", "serve", "env", "demo"}},
	{"look", "Look at it:", []string{"check", "top", "explain", "config", "version"}},
	{"credentials", "Credentials:", []string{"login", "logout", "identity", "ca", "token", "sign"}},
	{"other", "Other commands:", []string{"backend", "completion", "help"}},
}

// Group puts the commands below root into groups.
func Group(root *cobra.Command) {
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, cmd := range root.Commands() {
			for _, name := range g.commands {
				if cmd.Name() == name {
					cmd.GroupID = g.id
				}
			}
		}
	}
}

// ShowFile makes the help of commands with --config end with the file that they read, which
// find returns.
func ShowFile(root *cobra.Command, find func() string) {
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		help(cmd, args)
		if cmd.Flags().Lookup("config") != nil {
			fmt.Fprintf(cmd.OutOrStdout(), "\nConfiguration file: %s\n", find())
		}
	})
}
