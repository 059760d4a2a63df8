package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/agentproxy/agentproxy/authz"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/admin"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/proxy/access/exchange"
)

func newServeCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the proxy",
		Long: `Run the proxy until SIGINT or SIGTERM. The proxy then accepts no new connection
and gives running requests 30 seconds to end. A second signal cuts them.

The proxy reads the configuration again at SIGHUP and when the file, or one that
it names, has changed. What it refuses now is cut, and nothing else. A
configuration with a mistake is rejected, and the former stays in force. SIGHUP
also opens the audit log and the usage file again and takes up a rotated CA.

With systemd, the proxy uses the sockets that systemd passes for the listeners
whose addresses they have, and reports start, reload and end (Type=notify).`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cli.DisableCoreDumps()
			app.LimitMemory(c.env.Get, memlimit.FromCgroup)
			defer app.ReserveHeap(c.env.Get)()
			metrics := admin.NewMetrics()
			r, err := app.NewReloader(c.configName, c.env, c.stderr, metrics)
			if err != nil {
				return err
			}
			defer r.Close()
			return c.serve(cmd.Context(), r, metrics)
		},
	}
	c.configFlag(cmd)
	c.listenFlag(cmd)
	return cmd
}

// serve runs the proxy until ctx ends, then drains it.
func (c *command) serve(ctx context.Context, r *app.Reloader, metrics *admin.Metrics) (err error) {
	defer app.OnHangup(r.Hangup)()
	a := r.App()
	sockets, err := app.PassedSockets()
	if err != nil {
		return err
	}
	defer sockets.Close()
	p, err := r.NewProxy()
	if err != nil {
		return err
	}
	listener, err := sockets.Listen(a.Config.Clients.Listen)
	if err != nil {
		return err
	}
	defer listener.Close()

	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.Serve(listener) })
	tokens := exchange.New(r.ExchangeConfig, metrics.Exchanged)
	defer tokens.Close()
	for _, further := range []struct {
		address, says string
		serve         func(net.Listener) error
	}{
		{a.Config.Admin.Listen, "", func(l net.Listener) error { return admin.Serve(groupCtx, l, r, metrics, tokens) }},
		{a.Config.Gateways.Listen, "answering gateways", func(l net.Listener) error { return authz.Serve(groupCtx, l, r.GatewayConfig) }},
		{a.Config.Exchange.Listen, "answering workloads", func(l net.Listener) error { return exchange.Serve(groupCtx, l, tokens) }},
	} {
		if further.address == "" {
			continue
		}
		l, err := sockets.Listen(further.address)
		if err != nil {
			return errors.Join(err, app.Shutdown(p, app.Canceled()))
		}
		p.NeverDial(l.Addr())
		group.Go(func() error { return further.serve(l) })
		if further.says != "" {
			fmt.Fprintf(c.stderr, "agentproxy: %s on %s\n", further.says, app.ListenName(l))
		}
	}
	if err := sockets.Unused(); err != nil {
		return errors.Join(err, app.Shutdown(p, app.Canceled()))
	}
	where := fmt.Sprintf("listening on %s, signing as %s", app.ListenName(listener), a.Describe(ctx))
	fmt.Fprintf(c.stderr, "agentproxy: %s, CA %s\n", where, a.CA.Path())
	if path := a.Config.Path(); path != "" && path == config.DefaultPath(c.env) {
		fmt.Fprintf(c.stderr, "agentproxy: configured by %s\n", path)
	}
	app.Notify(a.Log, daemon.SdNotifyReady+"\nSTATUS="+where)
	if most, ok := cli.Descriptors(); ok {
		if wrong := app.CheckDescriptors(most, a.Config.Limits.Connections); wrong != "" {
			a.Log.Warn().Msg(wrong)
		}
	}
	for _, b := range clientenv.Bypasses(a.Config) {
		a.Log.Warn().Str("remedy", b.Remedy).Msg(b.What)
	}

	r.Watch()
	a.Start(groupCtx, "")
	group.Go(func() error {
		r.Run(groupCtx)
		return nil
	})
	group.Go(func() error {
		app.TidyHeap(groupCtx, c.env.Get)
		return nil
	})
	group.Go(func() error {
		app.FollowLoad(groupCtx, c.env.Get)
		return nil
	})

	<-groupCtx.Done()
	current, done := r.Use()
	log := current.Log
	done()
	app.Notify(log, daemon.SdNotifyStopping)
	hurry, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if ctx.Err() != nil {
		log.Info().Dur("at_most", app.DrainTimeout).Msg("draining")
	}
	err = app.Shutdown(p, hurry)
	return errors.Join(err, group.Wait())
}
