package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/fsnotify/fsnotify"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/agentproxy/agentproxy/authz"
	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/proxy"
)

func newServeCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: `Run the proxy until SIGINT or SIGTERM. Then no new connection is accepted, and
what is running has 30 seconds to end; a second signal cuts it.

At SIGHUP, and when the configuration or a file that it names has changed, the
configuration is read again and holds from then on, without anything being cut.
One with a mistake in it is refused, and the former holds on. SIGHUP also opens
the audit log anew and takes up a rotated CA.

A socket that systemd passes (socket activation) is used for the listener whose
address it has, and systemd is told of start, reload and end (Type=notify).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cli.DisableCoreDumps()
			defer reserveHeap(c.env.Get)()
			r := &reloader{command: c, files: make(seenFiles), metrics: newMetrics()}
			config, err := readConfig(c.configPath, c.env, r.files.read)
			if err != nil {
				return err
			}
			r.applied = r.files
			if r.app, err = newApp(config, c.env, newLogger(config.Log, c.stderr), r.metrics); err != nil {
				return err
			}
			defer r.close()
			if err := r.app.openAudit(nil); err != nil {
				return err
			}
			return c.serve(cmd.Context(), r)
		},
	}
	c.configFlag(cmd)
	return cmd
}

// serve runs the proxy until ctx ends, then drains it.
func (c *command) serve(ctx context.Context, r *reloader) (err error) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	a := r.app
	sockets, err := passedSockets()
	if err != nil {
		return err
	}
	defer sockets.close()
	if a.ca, err = certs.Open(a.caConfig()); err != nil {
		return err
	}
	listener, err := sockets.listen(a.config.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	p := proxy.New(a.proxyConfig(a.ca, a.config.entrance))
	r.proxy = p
	r.metrics.registry.MustRegister(&stateCollector{r.look})

	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.Serve(listener) })
	if a.config.Admin != "" {
		admin, err := sockets.listen(a.config.Admin)
		if err != nil {
			return errors.Join(err, shutdown(p, canceled()))
		}
		p.NeverDial(admin.Addr())
		group.Go(func() error { return serveAdmin(groupCtx, admin, r) })
	}
	if a.config.Authz.Listen != "" {
		gateways, err := sockets.listen(a.config.Authz.Listen)
		if err != nil {
			return errors.Join(err, shutdown(p, canceled()))
		}
		p.NeverDial(gateways.Addr())
		group.Go(func() error { return authz.Serve(groupCtx, gateways, r.authz) })
		fmt.Fprintf(c.stderr, "agentproxy: answering gateways on %s\n", listenName(gateways))
	}
	if err := sockets.unused(); err != nil {
		return errors.Join(err, shutdown(p, canceled()))
	}
	where := fmt.Sprintf("listening on %s, signing as %s", listenName(listener), a.describe(ctx))
	fmt.Fprintf(c.stderr, "agentproxy: %s, CA %s\n", where, a.ca.Path())
	notify(a.log, daemon.SdNotifyReady+"\nSTATUS="+where)
	for _, b := range a.config.bypasses() {
		a.log.Warn().Str("remedy", b.remedy).Msg(b.what)
	}

	// Before those of the log-ins, of which there may be more than the system gives.
	if r.watcher, err = fsnotify.NewWatcher(); err != nil {
		a.log.Warn().AnErr("error", err).Msg("changes of the configuration are seen within seconds, not at once")
	}
	a.start(groupCtx, "")
	group.Go(func() error {
		r.run(groupCtx, hangups)
		return nil
	})
	group.Go(func() error {
		runTidyHeap(groupCtx)
		return nil
	})

	<-groupCtx.Done()
	notify(*a.logInForce.Load(), daemon.SdNotifyStopping)
	hurry, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if ctx.Err() != nil {
		a.logInForce.Load().Info().Dur("at_most", drainTimeout).Msg("draining")
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
