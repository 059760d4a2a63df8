package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/standin"
)

func newDemoCommand(c *command) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show a signed request from end to end, on this machine alone",
		Long: `Start a stand-in for the ChatGPT backend and a proxy in front of it, send a
request without a credential through the proxy, and show what the backend
received. The demo uses nothing outside this machine and leaves nothing behind.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
			defer cancel()
			return standin.Demo(ctx, c.stdout, c.env.Get, os.Args[0])
		},
	}
}
