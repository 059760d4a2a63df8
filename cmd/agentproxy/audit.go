package main

import (
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
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
