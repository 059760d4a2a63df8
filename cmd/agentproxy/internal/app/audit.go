package app

import (
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/signer"
)

// auditLog is an audit log. Apps that follow one another share it while its configuration
// is the same.
type auditLog struct {
	*audit.File
	settings auditSettings
	users    users
}

type auditSettings struct {
	audit config.Audit
	log   config.Log // for errors of writing
}

// openAudit opens the audit log, if one is configured. former, the app before this one, may
// have it open already; nil if there was none.
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

// auditFailed is the code of requests that are refused because they cannot be audited.
const auditFailed signer.Code = "audit_failed"

// Auditable returns why requests would be refused because they cannot be audited.
func (a *App) Auditable() error {
	return a.auditError(func() error { return a.audit.Check(time.Now()) })
}

// auditError returns the error of check as that of requests, nil if they go on all
// the same.
func (a *App) auditError(check func() error) error {
	if a.audit == nil || a.Config.Audit.OnFailure == config.AuditContinue {
		return nil
	}
	if err := check(); err != nil {
		return &signer.Error{Code: auditFailed, Message: err.Error(), Err: err}
	}
	return nil
}
