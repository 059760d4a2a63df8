package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
)

const (
	// caWait is how long ca export --wait waits by default.
	caWait = time.Minute
	// caWaitInterval is how often it looks for the CA.
	caWaitInterval = 100 * time.Millisecond
)

// caExport holds the flags of ca export.
type caExport struct {
	bundle bool
	output string        // "": standard output
	wait   time.Duration // for another process to make the CA; 0: it is made here
}

func newCAExportCommand(c *command) *cobra.Command {
	var e caExport
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Print the CA's certificate, in PEM",
		Long: `Print the certificate of the CA in PEM, and that of a prepared CA. The key never
leaves the state directory.

Use --bundle for variables such as SSL_CERT_FILE, which replace a program's roots:
it adds the system's roots.

With --wait, wait for agentproxy serve to make the CA, for example in another
container. With --output, the file appears as a whole, and everybody may read it.`,
		Example: `  agentproxy ca export --wait --bundle --output /shared/bundle.pem`,
		RunE: c.withApp(func(ctx context.Context, a *app.App) error {
			return c.exportCA(ctx, a, e)
		}),
	}
	c.configFlag(cmd)
	cmd.Flags().BoolVar(&e.bundle, "bundle", false, "add the system's roots")
	cmd.Flags().StringVarP(&e.output, "output", "o", "", "write to this `file`, with mode 0644, instead of standard output")
	cmd.Flags().DurationVar(&e.wait, "wait", 0, "`time` to wait for agentproxy serve to make the CA")
	cmd.Flags().Lookup("wait").NoOptDefVal = caWait.String()
	return cmd
}

func (c *command) exportCA(ctx context.Context, a *app.App, e caExport) error {
	ca, err := e.open(ctx, a.CAConfig())
	if err != nil {
		return err
	}
	pem := ca.PEM()
	if e.bundle {
		roots, _, err := certs.SystemRoots(c.env.Get)
		if err != nil {
			return err
		}
		pem = ca.Bundle(roots)
	}
	if e.output == "" {
		_, err = c.stdout.Write(pem)
		return err
	}
	return clientenv.LastingDir(filepath.Dir(e.output)).WriteCertificates(e.output, pem, "name a file in a directory that can be written")
}

// open returns the CA, and waits for it if that is asked for.
func (e caExport) open(ctx context.Context, config certs.Config) (*certs.Authority, error) {
	if e.wait <= 0 {
		return certs.Open(config)
	}
	limited, cancel := context.WithTimeout(ctx, e.wait)
	defer cancel()
	look := time.NewTicker(caWaitInterval)
	defer look.Stop()
	for {
		ca, err := certs.Load(config)
		if !errors.Is(err, fs.ErrNotExist) {
			return ca, err
		}
		select {
		case <-look.C:
		case <-limited.Done():
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, fmt.Errorf("waited %s for the CA: %w with this state_dir", e.wait, err)
		}
	}
}
