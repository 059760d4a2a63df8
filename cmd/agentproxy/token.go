package main

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/tokenexchange"
	"github.com/agentproxy/agentproxy/proxy/access"
	"github.com/agentproxy/agentproxy/proxy/access/issued"
)

func newTokenCommand(c *command) *cobra.Command {
	return group(&cobra.Command{
		Use:   "token",
		Short: "Issue, get and revoke client tokens that expire",
	}, newTokenIssueCommand(c), newTokenRevokeCommand(c), tokenexchange.Command(c.stdin, c.stdout, c.stderr))
}

func newTokenIssueCommand(c *command) *cobra.Command {
	var label string
	var ttl time.Duration
	cmd := &cobra.Command{
		Use:   "issue --label LABEL",
		Short: "Print a token for the clients of one session label",
		Long: `Print a token that lets clients with one session label use the proxy, until it ends
or is revoked. It is the password in the proxy's URL: http://LABEL:TOKEN@HOST:PORT.
It is signed with a key in state_dir, and kept nowhere.`,
		Example: `  agentproxy token issue --label build-42 --ttl 2h`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			tokens, err := c.issuedTokens()
			if err != nil {
				return err
			}
			if label == "" {
				return cli.Usagef("--label is missing; a token is for one session label")
			}
			if wrong := access.CheckLabel(label); wrong != "" {
				return cli.Usagef("--label %s", wrong)
			}
			if strings.Contains(label, ":") {
				return cli.Usagef("--label %s: the user name in a URL has no colon", label)
			}
			signed, token, err := tokens.Issue(cmd.Context(), label, ttl)
			if err != nil {
				return err
			}
			fmt.Fprintln(c.stdout, signed)
			fmt.Fprintf(c.stderr, "agentproxy: it is good for %s until %s; agentproxy token revoke %s ends it before\n", label, token.Expires.UTC().Format(time.RFC3339), token.ID)
			return nil
		},
	}
	c.configFlag(cmd)
	cmd.Flags().StringVar(&label, "label", "", "session `label` that the token is for")
	cmd.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "how long the token is good, such as 2h or 90m")
	return cmd
}

func newTokenRevokeCommand(c *command) *cobra.Command {
	var label string
	var all bool
	cmd := &cobra.Command{
		Use:   "revoke {ID | - | --label LABEL | --all}",
		Short: "End tokens before their time",
		Long: `End a token before its time: the one with an ID, or the one on standard input where
ID is "-", or all of a label or of all labels that were issued up to now. A running
proxy cuts what they let in within two seconds.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if ways := len(args) + truth(cmd.Flags().Changed("label")) + truth(all); ways != 1 {
				return cli.Usagef("name one of an ID, -, --label, --all; see %s --help", cmd.CommandPath())
			}
			if cmd.Flags().Changed("label") {
				if label == "" {
					return cli.Usagef("--label is empty, which is no token's label; --all ends all tokens")
				}
				if wrong := access.CheckLabel(label); wrong != "" {
					return cli.Usagef("--label %s", wrong)
				}
			}
			tokens, err := c.issuedTokens()
			if err != nil {
				return err
			}
			switch {
			case all:
				return tokens.RevokeAll(cmd.Context())
			case len(args) == 0:
				return tokens.RevokeLabel(cmd.Context(), label)
			case args[0] == "-":
				return c.revokeShown(cmd, tokens)
			case !tokenID.MatchString(args[0]):
				return cli.Usagef("%.40q is no ID of a token, which token issue prints; - reads a token from standard input", args[0])
			}
			return tokens.RevokeID(cmd.Context(), args[0])
		},
	}
	c.configFlag(cmd)
	cmd.Flags().StringVar(&label, "label", "", "revoke the tokens of this session `label`")
	cmd.Flags().BoolVar(&all, "all", false, "revoke all tokens, by a new key")
	return cmd
}

var tokenID = regexp.MustCompile(`^[A-Z2-7]{16}$`)

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// revokeShown revokes the token on standard input.
func (c *command) revokeShown(cmd *cobra.Command, tokens *issued.Tokens) error {
	raw, err := io.ReadAll(io.LimitReader(c.stdin, 1<<16))
	if err != nil {
		return fmt.Errorf("read the token: %w", err)
	}
	token, err := tokens.Check(strings.TrimSpace(string(raw)))
	if err != nil {
		return fmt.Errorf("this token cannot be revoked: %w", err)
	}
	return tokens.RevokeToken(cmd.Context(), token)
}

// issuedTokens returns the tokens of the configuration that the command line names.
func (c *command) issuedTokens() (*issued.Tokens, error) {
	conf, err := c.loadConfig()
	if err != nil {
		return nil, err
	}
	if conf.Clients.IssuedDir == "" {
		return nil, errors.New("clients.issued is off, so no such token lets anybody in; set it to also or only")
	}
	return issued.Open(conf.Clients.IssuedDir, time.Now, func(error) {}).Shared(conf.Clients.IssuedKey, conf.Clients.IssuedRevoked), nil
}
