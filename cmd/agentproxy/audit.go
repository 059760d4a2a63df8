package main

import (
	"time"

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
	audit auditConfig
	log   logConfig // is told when the file cannot be written
}

// openAudit opens the audit log, if one is configured. former, the app before
// this one, may have it open already; nil if there was none.
func (a *app) openAudit(former *app) error {
	settings := auditSettings{a.config.Audit, a.config.Log}
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
		Continue: settings.audit.OnFailure == auditContinue,
		Log:      a.log,
	})
	if err != nil {
		return err
	}
	a.audit = &auditLog{File: file, settings: settings}
	a.audit.users.join()
	return nil
}

func (a *app) closeAudit() {
	if a.audit != nil && a.audit.users.leave() {
		_ = a.audit.Close() // every line was written as it came
	}
}

// auditFailed is the code of requests that are refused for want of an audit log.
const auditFailed signer.Code = "audit_failed"

// auditable says why requests would be refused for want of an audit log.
func (a *app) auditable() error {
	if a.audit == nil || a.config.Audit.OnFailure == auditContinue {
		return nil
	}
	if err := a.audit.Check(time.Now()); err != nil {
		return &signer.Error{Code: auditFailed, Message: err.Error(), Err: err}
	}
	return nil
}
