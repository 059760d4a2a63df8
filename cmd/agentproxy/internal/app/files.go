package app

import "errors"

// OpenFiles opens the audit log and the usage file, if they are configured.
func (a *App) OpenFiles() error { return a.openFiles(nil) }

// openFiles is [App.OpenFiles] for an app that follows former, which may have them open.
// former may be nil.
func (a *App) openFiles(former *App) error {
	return errors.Join(a.openAudit(former), a.openUsage(former))
}

// ReopenFiles opens the audit log and the usage file again, after they were moved away, and
// reports whether that succeeded.
func (a *App) ReopenFiles() bool {
	good := true
	reopen := func(name string, open func() error) {
		if err := open(); err != nil {
			a.Log.Error().AnErr("error", err).Msg("SIGHUP: the " + name + " could not be opened again")
			good = false
		}
	}
	if a.audit != nil {
		reopen("audit log", a.audit.Reopen)
	}
	if a.usage != nil {
		reopen("usage file", a.usage.Reopen)
	}
	return good
}

// closeFiles closes the files that no other app uses.
func (a *App) closeFiles() {
	if a.audit != nil && a.audit.users.leave() {
		_ = a.audit.Close() // every line was written as it came
	}
	if a.usage != nil && a.usage.users.leave() {
		_ = a.usage.Close() // what failed was told of
	}
}
