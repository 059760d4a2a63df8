package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/completion"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/identityfile"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

func newIdentityImportCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import FILE",
		Short: "Import an agent identity: a JWT, a JSON record or an auth.json",
		Long: `Import an agent identity from a file, or from standard input if FILE is "-". The
file is a JWT, a JSON record, or an auth.json that holds one. A JWT is verified with
the backend's keys. The former identity is set aside.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completion.Files,
		RunE: func(cmd *cobra.Command, args []string) error {
			record, err := identityfile.Read(args[0], c.stdin)
			if err != nil {
				return err
			}
			return c.withApp(func(ctx context.Context, a *app.App) error {
				id, err := identityfile.Import(ctx, a, args[0], record)
				if err != nil {
					return err
				}
				c.showIdentity(id)
				c.row("Kept in", a.Default.Account.Store.String())
				return nil
			})(cmd, args)
		},
	}
	c.agentFlags(cmd)
	return cmd
}

func newIdentityExportCommand(c *command) *cobra.Command {
	var codex, yes bool
	var output, shape string
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write the agent identity, private key included, as JSON",
		Long: `Write the agent identity as JSON, for identity.file or identity import. It holds
the private key, with which anybody can sign as the agent.

With --codex, write it into Codex's auth.json, and change nothing else there. No
shape is read by every version of Codex. A version that cannot read it refuses the
whole file, as if nobody were logged in:

  N  what Codex 0.142 and later write; refused by 0.121 to 0.123, and 0.128 to 0.141
  C  N and A in one; refused by 0.128 to 0.141
  A  what Codex 0.121 to 0.123 write; refused by 0.124 and later

export names those versions and asks first.`,
		Example: `  agentproxy identity export --output identity.json
  agentproxy identity export --codex`,
		RunE: c.withApp(func(ctx context.Context, a *app.App) error {
			if codex && output != "" {
				return cli.Usagef("--codex and --output exclude each other: each names a place to write to")
			}
			if shape != "" && !codex {
				return cli.Usagef("--shape is only used with --codex")
			}
			switch identity.Shape(shape) {
			case "", identity.ShapeA, identity.ShapeC, identity.ShapeN:
			default:
				return cli.Usagef("--shape %s: it is none of A, C, N", shape)
			}
			record, err := a.Default.Account.Agent.Export(ctx)
			if err != nil {
				return err
			}
			raw := record.MarshalShapeC()
			switch {
			case codex:
				return identityfile.ExportToCodex(ctx, a, record, cmp.Or(identity.Shape(shape), identity.ShapeOf(record.Protocol)), func(warning string) bool {
					if yes {
						fmt.Fprintln(c.stderr, "agentproxy: "+warning)
					}
					return yes || c.confirm(warning+". Write it?")
				})
			case output != "":
				err := safefile.Write(output, raw, 0o600)
				if errors.Is(err, safefile.ErrNotRegular) {
					return fmt.Errorf("write %s: %w; name a file, or leave out --output for standard output", output, safefile.Cause(err))
				}
				if err != nil {
					return fmt.Errorf("write %s: %w; name a file in a directory that can be written", output, safefile.Cause(err))
				}
				return nil
			}
			_, err = c.stdout.Write(raw)
			return err
		}),
	}
	c.agentFlags(cmd)
	cmd.Flags().BoolVar(&codex, "codex", false, "write it into Codex's auth.json")
	cmd.Flags().StringVar(&shape, "shape", "", "`shape` for --codex: A, C or N (default: N, or C for an identity of the first generation)")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVarP(&output, "output", "o", "", "write it to this `file`, with mode 0600, instead of standard output")
	return cmd
}

func newIdentityRemoveCommand(c *command) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "remove",
		Short: "Delete the agent identity that agentproxy keeps",
		Long: `Delete the agent identity that agentproxy keeps, and its tasks, after a question.
The backend is not told. Codex's auth.json stays as it is.`,
		RunE: c.withApp(func(_ context.Context, a *app.App) error {
			record, err := a.Default.Account.Store.Load()
			if errors.Is(err, identity.ErrNoIdentity) {
				return fmt.Errorf("%w: there is nothing to remove", err)
			}
			name := "the identity that cannot be read"
			if err == nil {
				name = "agent " + record.AgentRuntimeID + " of workspace " + record.WorkspaceID
			}
			if !yes && !c.confirm(fmt.Sprintf("Delete %s from %s?", name, a.Default.Account.Store)) {
				return errors.New("nothing was removed; answer y, or give --yes")
			}
			return a.Default.Account.Agent.Forget()
		}),
	}
	c.agentFlags(cmd)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// confirm prints a question on standard error and reports whether the answer is yes.
func (c *command) confirm(question string) bool {
	fmt.Fprintf(c.stderr, "%s [y/N] ", question)
	answer, err := bufio.NewReader(c.stdin).ReadString('\n')
	if err != nil {
		fmt.Fprintln(c.stderr) // the line has no end
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}
