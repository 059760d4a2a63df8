package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/doctor"
)

func newCACommand(c *command) *cobra.Command {
	return group(&cobra.Command{
		Use:   "ca",
		Short: "Show, export, rotate or install the certificate authority of intercepted hosts",
	}, newCAShowCommand(c), newCAExportCommand(c), newCARotateCommand(c), newCAInstallCommand(c), newCAUninstallCommand(c))
}

func newCAShowCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Show the CA and the hosts that it can vouch for",
		RunE: c.withApp(func(_ context.Context, a *app.App) error {
			ca, err := certs.Load(a.CAConfig())
			if err != nil {
				return err
			}
			c.describeCA(ca)
			return nil
		}),
	}
	c.configFlag(cmd)
	return cmd
}

func (c *command) describeCA(ca *certs.Authority) {
	cert := ca.Certificate()
	fmt.Fprintf(c.stdout, "Certificate  %s\n", ca.Path())
	fmt.Fprintf(c.stdout, "Subject      %s\n", cert.Subject.CommonName)
	fmt.Fprintf(c.stdout, "SHA-256      %s\n", ca.Fingerprint())
	fmt.Fprintf(c.stdout, "Valid        %s to %s\n", cert.NotBefore.UTC().Format(time.DateOnly), cert.NotAfter.UTC().Format(time.DateOnly))
	fmt.Fprintf(c.stdout, "May sign     %s, names below them, and nothing else\n", strings.Join(cert.PermittedDNSDomains, ", "))
	if !ca.OnlyServers() {
		fmt.Fprintf(c.stdout, "For          any purpose; agentproxy ca rotate makes one %s\n", doctor.OnlyServers)
	}
	if next := ca.Next(); next != nil {
		fmt.Fprintf(c.stdout, "Next         %s, SHA-256 %s\n", next.Subject.CommonName, certs.Fingerprint(next))
	}
}

func newCARotateCommand(c *command) *cobra.Command {
	var prepare, discard bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the CA with a new one for the configured hosts",
		Long: `Replace the CA with a new one for the configured hosts. A running proxy keeps the
old CA until it reloads (SIGHUP) or is restarted. Give the new CA to all clients.

To rotate without a client noticing, run rotate --prepare first. It makes the next
CA. From then on export, env and run hand out both certificates, and the proxy goes
on signing with the old CA. When all clients have both, run rotate.

If somebody may have copied the keys, run rotate --discard. It replaces the present
and the prepared CA at once.`,
		RunE: c.withApp(func(_ context.Context, a *app.App) error { return c.rotateCA(a, prepare, discard) }),
	}
	c.configFlag(cmd)
	cmd.Flags().BoolVar(&prepare, "prepare", false, "make the next CA for clients to trust besides the present one")
	cmd.Flags().BoolVar(&discard, "discard", false, "discard a prepared CA and make another")
	return cmd
}

func (c *command) rotateCA(a *app.App, prepare, discard bool) error {
	if prepare && discard {
		return cli.Usagef("--prepare and --discard exclude each other: --prepare keeps a prepared CA, --discard does not")
	}
	rotate, next := certs.Rotate, "reload the proxy (SIGHUP) or restart it, and restart its clients with the new CA"
	if prepare {
		rotate, next = certs.Prepare, "give both certificates to all clients (agentproxy ca export), then run agentproxy ca rotate"
	}
	present, _, err := certs.Certificates(a.CAConfig().Dir)
	if err == nil && slices.ContainsFunc(present, certs.SystemTrusts) {
		next += "; for this machine's store, run agentproxy ca install"
	}
	if discard {
		if err := certs.Discard(a.CAConfig()); err != nil {
			return err
		}
	}
	ca, err := rotate(a.CAConfig())
	if err != nil {
		return err
	}
	// Programs that were started with the variables of env find their roots there.
	dir := filepath.Dir(ca.Path())
	if _, err := os.Stat(clientenv.BundlePath(dir)); err == nil {
		if _, err := clientenv.WriteBundle(clientenv.LastingDir(dir), ca, c.env); err != nil {
			return err
		}
	}
	c.describeCA(ca)
	fmt.Fprintf(c.stderr, "agentproxy: %s\n", next)
	return nil
}
