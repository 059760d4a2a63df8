package admin

import (
	"cmp"
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/agentproxy/agentproxy/signer"
)

// countedSigner counts the results of a signer.
type countedSigner struct {
	signer.Renewer
	ok     prometheus.Counter
	failed func(code string) prometheus.Counter
}

var _ signer.Renewer = (*countedSigner)(nil)

// Signer implements [app.Observer].
func (m *Metrics) Signer(name string, s signer.Renewer) signer.Renewer {
	return &countedSigner{
		Renewer: s,
		ok:      m.signings.WithLabelValues(name, "ok"),
		failed:  func(code string) prometheus.Counter { return m.signings.WithLabelValues(name, code) },
	}
}

// Sign implements [signer.Signer].
func (s *countedSigner) Sign(ctx context.Context, r signer.Request) (*signer.Authorization, error) {
	auth, err := s.Renewer.Sign(ctx, r)
	switch {
	case err == nil:
		s.ok.Inc()
	case ctx.Err() != nil:
		s.failed("canceled").Inc() // the client is gone
	default:
		s.failed(string(cmp.Or(signer.CodeOf(err), "signing_failed"))).Inc()
	}
	return auth, err
}
