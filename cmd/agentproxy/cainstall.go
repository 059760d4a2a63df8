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

// storeFlags are what install and uninstall are told.
type storeFlags struct {
	stores []string
	yes    bool
}

func (f *storeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.stores, "store", nil, "change these `stores` only: system, browsers, java (default all that there are)")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	_ = cmd.RegisterFlagCompletionFunc("store", cobra.FixedCompletions(truststore.Names(), cobra.ShellCompDirectiveNoFileComp))
}

func newCAInstallCommand(c *command) *cobra.Command {
	var flags storeFlags
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Have this machine trust the CA",
		Long: `Add the CA, and a prepared one, to what this machine trusts: the system's store,
those of Firefox and Chromium (where certutil is installed), and that of the Java
at JAVA_HOME. A former CA that was rotated away is taken out. What is about to be
changed is said and asked first.

Run it as the user whose CA it is; for the system's store it calls sudo.`,
		Args: cobra.NoArgs,
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
		Short: "Have this machine trust the CA no longer",
		Long: `Take the CA out of the stores that agentproxy ca install adds it to, and with it
a prepared CA and those that were rotated away. What is about to be changed is
said and asked first. The CA itself stays; programs that agentproxy run or env
have pointed at it go on trusting it.`,
		Args: cobra.NoArgs,
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

// storesOf returns the stores to change, and says which are left out.
func (c *command) storesOf(flags storeFlags) ([]truststore.Store, error) {
	stores, notes, err := truststore.Open(flags.stores)
	for _, note := range notes {
		fmt.Fprintf(c.stderr, "agentproxy: %s\n", note)
	}
	return stores, err
}

// caToInstall returns the certificates to trust and those not to. The CA is
// made if there is none, but not for root where sudo was put before a user's
// command: it would be one that no proxy uses.
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

// storeChange is one thing to be done to one store.
type storeChange struct {
	store  truststore.Store
	cert   *x509.Certificate
	remove bool
}

// describe is a line about the change: before it is made, or when it is done.
func (s storeChange) describe(done bool) string {
	verb := map[[2]bool]string{{false, false}: "to add", {false, true}: "to remove", {true, false}: "added", {true, true}: "removed"}[[2]bool{done, s.remove}]
	return fmt.Sprintf("%-9s  %s  %s: %s", verb, s.cert.Subject.CommonName, s.store.Name, s.store.Changes)
}

// changeStores has the stores trust what wanted holds, and not what unwanted
// does, once the user agrees.
func (c *command) changeStores(stores []truststore.Store, yes bool, wanted, unwanted []*x509.Certificate) error {
	var changes []storeChange
	for _, store := range stores {
		for _, cert := range wanted {
			if !store.Holds(cert) {
				changes = append(changes, storeChange{store: store, cert: cert})
			}
		}
		for _, cert := range unwanted {
			if store.Traces(cert) {
				changes = append(changes, storeChange{store: store, cert: cert, remove: true})
			}
		}
	}
	if len(changes) == 0 {
		fmt.Fprintln(c.stderr, "agentproxy: nothing is to be changed")
		return nil
	}
	if err := c.agreed(yes, changes); err != nil {
		return err
	}
	for _, change := range changes {
		do := change.store.Add
		if change.remove {
			do = change.store.Remove
		}
		if err := do(change.cert); err != nil {
			return err
		}
		fmt.Fprintln(c.stdout, change.describe(true))
	}
	return nil
}

// agreed says what is to be done, and asks whether to do it.
func (c *command) agreed(yes bool, changes []storeChange) error {
	for _, change := range changes {
		fmt.Fprintln(c.stderr, change.describe(false))
	}
	if i := slices.IndexFunc(changes, func(s storeChange) bool { return !s.remove }); i >= 0 {
		fmt.Fprintf(c.stderr, "By critical name constraints it can vouch for %s, names below them, and nothing else.\n", strings.Join(changes[i].cert.PermittedDNSDomains, ", "))
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
