package app

import (
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/signer"
)

// auditLog is an audit log that apps which follow one another share while it is
// configured the same.
type auditLog struct {
	*audit.File
	settings auditSettings
	users    users
}

type auditSettings struct {
	audit config.Audit
	log   config.Log // is told when the file cannot be written
}

// OpenAudit opens the audit log, if one is configured.
func (a *App) OpenAudit() error { return a.openAudit(nil) }

// openAudit opens the audit log, if one is configured. former, the app before
// this one, may have it open already; nil if there was none.
func (a *App) openAudit(former *App) error {
	settings := auditSettings{a.Config.Audit, a.Config.Log}
	if settings.audit.File == "" {
		return nil
	}
	if former != nil && former.audit != nil && former.audit.settings == settings {
		a.audit = former.audit
		a.audit.users.join()
		return nil
	}
	file, err := audit.OpenFile(audit.FileConfig{
		Path:     settings.audit.File,
		Sync:     settings.audit.Fsync,
		Continue: settings.audit.OnFailure == config.AuditContinue,
		Log:      a.Log,
	})
	if err != nil {
		return err
	}
	a.audit = &auditLog{File: file, settings: settings}
	a.audit.users.join()
	return nil
}

func (a *App) closeAudit() {
	if a.audit != nil && a.audit.users.leave() {
		_ = a.audit.Close() // every line was written as it came
	}
}

// auditFailed is the code of requests that are refused for want of an audit log.
const auditFailed signer.Code = "audit_failed"

// Auditable returns why requests would be refused for want of an audit log.
func (a *App) Auditable() error {
	if a.audit == nil || a.Config.Audit.OnFailure == config.AuditContinue {
		return nil
	}
	if err := a.audit.Check(time.Now()); err != nil {
		return &signer.Error{Code: auditFailed, Message: err.Error(), Err: err}
	}
	return nil
}
