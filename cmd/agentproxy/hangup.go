package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/rs/zerolog"
)

// onHangup calls renew at every SIGHUP until stop is called, which waits for it. Where
// this program was started to ignore the signal, as by nohup(1), it does, and so do
// the programs that it starts.
func onHangup(log zerolog.Logger, renew func() error) (stop func()) {
	hangups, done := make(chan os.Signal, 1), make(chan struct{})
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(hangups, syscall.SIGHUP)
	}
	go func() {
		defer close(done)
		for range hangups {
			if err := renew(); err != nil {
				log.Error().AnErr("error", err).Msg("SIGHUP: not all could be renewed")
				continue
			}
			log.Info().Msg("SIGHUP: renewed")
		}
	}()
	return func() {
		signal.Stop(hangups) // nothing is sent any more when it returns
		close(hangups)
		<-done
	}
}

// reopenAudit opens the audit log anew, after its file was moved away.
func (a *app) reopenAudit() error {
	if a.audit == nil {
		return nil
	}
	return a.audit.Reopen()
}
