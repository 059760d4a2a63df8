package main

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy"
)

// openAudit opens the audit log, if one is configured.
func (a *app) openAudit(log zerolog.Logger) (err error) {
	if a.config.Audit.File == "" {
		return nil
	}
	a.audit, err = proxy.OpenAuditFile(proxy.AuditFileConfig{
		Path:     a.config.Audit.File,
		Sync:     a.config.Audit.Fsync,
		Continue: a.config.Audit.OnFailure == auditContinue,
		Log:      log,
	})
	return err
}

func (a *app) closeAudit() {
	if a.audit != nil {
		_ = a.audit.Close() // every line was written as it came
	}
}

// auditable says why requests would be refused for want of an audit log.
func (a *app) auditable() error {
	if a.audit == nil || a.config.Audit.OnFailure == auditContinue {
		return nil
	}
	return a.audit.Check(time.Now())
}
