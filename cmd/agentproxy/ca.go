package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/certs"
)

func newCACommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "The certificate authority that intercepted hosts are impersonated with",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{fmt.Errorf("name one of show, export, rotate; see %s --help", cmd.CommandPath())}
		},
	}
	cmd.AddCommand(newCAShowCommand(c), newCAExportCommand(c), newCARotateCommand(c))
	return cmd
}

func newCAShowCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Say what the CA is and what it may vouch for",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := c.load()
			if err != nil {
				return err
			}
			defer a.close()
			ca, err := certs.Load(a.caConfig())
			if err != nil {
				return err
			}
			c.describeCA(ca)
			return nil
		},
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
}

func newCAExportCommand(c *command) *cobra.Command {
	var bundle bool
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the CA's certificate, in PEM",
		Long: `Print the CA's certificate, in PEM. Its key never leaves the state directory.

Variables such as SSL_CERT_FILE replace a program's roots: they need --bundle,
which adds the system's.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := c.load()
			if err != nil {
				return err
			}
			defer a.close()
			ca, err := certs.Open(a.caConfig())
			if err != nil {
				return err
			}
			pem := ca.PEM()
			if bundle {
				roots, _, err := certs.SystemRoots(c.env.get)
				if err != nil {
					return err
				}
				pem = ca.Bundle(roots)
			}
			_, err = c.stdout.Write(pem)
			return err
		},
	}
	c.configFlag(cmd)
	cmd.Flags().BoolVar(&bundle, "bundle", false, "add the system's root certificates")
	return cmd
}

func newCARotateCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Replace the CA by a new one, for the configured hosts",
		Long: `Replace the CA by a new one, for the configured hosts. A running proxy keeps
the old one until it is restarted, and clients have to be given the new one.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := c.load()
			if err != nil {
				return err
			}
			defer a.close()
			ca, err := certs.Rotate(a.caConfig())
			if err != nil {
				return err
			}
			c.describeCA(ca)
			fmt.Fprintln(c.stderr, "agentproxy: restart the proxy, and its clients with the new CA")
			return nil
		},
	}
	c.configFlag(cmd)
	return cmd
}
