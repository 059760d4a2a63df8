package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/agentproxy/agentproxy/certs"
)

func newServeCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: `Run the proxy until SIGINT or SIGTERM. Then no new connection is accepted, and
what is running has 30 seconds to end; a second signal cuts it. SIGHUP opens the
audit log anew.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			disableCoreDumps()
			config, err := loadConfig(c.configPath, c.env)
			if err != nil {
				return err
			}
			log := newLogger(config.Log, c.stderr)
			a, err := newApp(config, c.env, log, newMetrics())
			if err != nil {
				return err
			}
			defer a.close()
			if err := a.openAudit(log); err != nil {
				return err
			}
			defer a.closeAudit()
			return c.serve(cmd.Context(), a, log)
		},
	}
	c.configFlag(cmd)
	return cmd
}

// serve runs the proxy until ctx ends, then drains it.
func (c *command) serve(ctx context.Context, a *app, log zerolog.Logger) error {
	defer onHangup(log, a.hangup)()
	ca, err := certs.Open(a.caConfig())
	if err != nil {
		return err
	}
	listener, err := listen(a.config.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	p := a.newProxy(ca, a.config.entrance, log)
	a.metrics.registry.MustRegister(&stateCollector{app: a, proxy: p, ca: ca})

	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.Serve(listener) })
	if a.config.Admin != "" {
		admin, err := listen(a.config.Admin)
		if err != nil {
			return errors.Join(err, shutdown(p, canceled()))
		}
		p.NeverDial(admin.Addr())
		group.Go(func() error { return serveAdmin(groupCtx, admin, a) })
	}
	fmt.Fprintf(c.stderr, "agentproxy: listening on %s, signing as %s, CA %s\n",
		listenName(listener), a.describe(ctx), ca.Path())

	group.Go(func() error {
		a.agent.Run(groupCtx, "")
		return nil
	})

	<-groupCtx.Done()
	hurry, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if ctx.Err() != nil {
		log.Info().Dur("at_most", drainTimeout).Msg("draining")
	}
	err = shutdown(p, hurry)
	return errors.Join(err, group.Wait())
}

// canceled returns a context that has ended.
func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
