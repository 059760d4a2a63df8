package app

import (
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"
)

// Notify tells systemd, if it waits for that (sd_Notify(3)), how the program is.
func Notify(log zerolog.Logger, state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		log.Warn().AnErr("error", err).Msg("systemd could not be told how the program is; look at NOTIFY_SOCKET")
	}
}
