package app

import (
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
)

// Notify reports a state to systemd if that expects it (sd_notify(3)).
func Notify(log zerolog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn().AnErr("error", err).Msg("systemd could not be told how the program is; look at NOTIFY_SOCKET")
	}
}
