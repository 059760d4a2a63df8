package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/truststore"
)

// storeFlags are the flags of ca install and ca uninstall.
type storeFlags struct {
	stores []string
	yes    bool
}

func (f *storeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.stores, "store", nil, "`stores` to change: system, browsers, java (default all of this machine)")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	_ = cmd.RegisterFlagCompletionFunc("store", cobra.FixedCompletions(truststore.Names(), cobra.ShellCompDirectiveNoFileComp))
}

func newCAInstallCommand(c *command) *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Make this machine trust the CA",
		Long: `Add the CA, and a prepared one, to the stores of this machine: the system's, those
of Firefox and Chromium (if certutil is installed), and that of the Java at
JAVA_HOME. Remove former CAs. install prints the changes and asks first.

Run it as the user whose CA it is. It calls sudo for the system's store.`,
		RunE: c.withApp(func(_ context.Context, a *app.App) error {
			stores, err := c.storesOf(flags)
			if err != nil {
				return err
			}
			present, former, err := c.caToInstall(a)
			if err != nil {
				return err
			}
			return c.changeStores(stores, flags.yes, present, former)
		}),
	}
	c.configFlag(cmd)
	flags.add(cmd)
	return cmd
}

func newCAUninstallCommand(c *command) *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Make this machine trust the CA no longer",
		Long: `Remove the CA, a prepared one and former ones from the stores that agentproxy ca
install adds them to. uninstall prints the changes and asks first. The CA itself
stays, and programs that were started with agentproxy run or env go on trusting
it.`,
		RunE: c.withApp(func(_ context.Context, a *app.App) error {
			stores, err := c.storesOf(flags)
			if err != nil {
				return err
			}
			present, former, err := certs.Certificates(a.CAConfig().Dir)
			if err != nil {
				return err
			}
			return c.changeStores(stores, flags.yes, nil, append(present, former...))
		}),
	}
	c.configFlag(cmd)
	flags.add(cmd)
	return cmd
}

// storesOf returns the stores to change, and prints why others are left out.
func (c *command) storesOf(flags storeFlags) ([]truststore.Store, error) {
	stores, notes, err := truststore.Open(flags.stores)
	for _, note := range notes {
		fmt.Fprintf(c.stderr, "agentproxy: %s\n", note)
	}
	return stores, err
}

// caToInstall returns the certificates to trust, and those to trust no longer. It makes the
// CA if there is none, but not for root under sudo: no proxy would use that CA.
func (c *command) caToInstall(a *app.App) (present, former []*x509.Certificate, err error) {
	open := certs.Open
	if c.env.Get("SUDO_USER") != "" {
		open = certs.Load
	}
	ca, err := open(a.CAConfig())
	if err != nil {
		return nil, nil, err
	}
	present = []*x509.Certificate{ca.Certificate()}
	if next := ca.Next(); next != nil {
		present = append(present, next)
	}
	_, former, err = certs.Certificates(a.CAConfig().Dir)
	return present, former, err
}

// changeStores makes the stores trust wanted and no longer trust unwanted, if the user
// agrees.
func (c *command) changeStores(stores []truststore.Store, yes bool, wanted, unwanted []*x509.Certificate) error {
	changes, err := truststore.Plan(stores, wanted, unwanted)
	if err != nil {
		return err
	}
	if len(changes) == 0 {
		fmt.Fprintln(c.stderr, "agentproxy: nothing to change")
		return nil
	}
	if err := c.agreed(yes, changes); err != nil {
		return err
	}
	for _, change := range changes {
		if err := change.Make(); err != nil {
			return err
		}
		fmt.Fprintln(c.stdout, change.Describe(true))
	}
	return nil
}

// agreed prints the changes and returns nil if the user agrees to them.
func (c *command) agreed(yes bool, changes []truststore.Change) error {
	for _, change := range changes {
		fmt.Fprintln(c.stderr, change.Describe(false))
	}
	if i := slices.IndexFunc(changes, func(s truststore.Change) bool { return !s.Remove }); i >= 0 {
		fmt.Fprintf(c.stderr, "By critical name constraints it can vouch for %s, names below them, and nothing else.\n", strings.Join(changes[i].Cert.PermittedDNSDomains, ", "))
	}
	switch {
	case yes:
		return nil
	case !cli.IsTerminal(c.stdin):
		return cli.Usagef("nothing was changed, for standard input is no terminal, where you could be asked; add --yes to go on without a question")
	case !c.confirm("Go on?"):
		return errors.New("nothing was changed; answer y, or give --yes")
	}
	return nil
}
