package app

import (
	"os"
	"os/signal"
	"syscall"
)

// OnHangup calls renew at each SIGHUP until stop is called. stop waits for a running call.
// A SIGHUP during a call leads to another call.
func OnHangup(renew func()) (stop func()) {
	hangups, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		defer close(done)
		for range hangups {
			renew()
		}
	}()
	return func() {
		signal.Stop(hangups) // nothing is sent any more when it returns
		close(hangups)
		<-done
	}
}

// IgnoresHangup reports whether this program was started to ignore SIGHUP, as by nohup(1).
func IgnoresHangup() bool { return signal.Ignored(syscall.SIGHUP) }
