package app

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"reflect"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/access/exchange"
	"github.com/agentproxy/agentproxy/proxy/access/workload"
	"github.com/agentproxy/agentproxy/proxy/upstream"
)

// openIssuers returns the roots of the issuers of workloads' tokens, in PEM form, nil for one
// that has none of its own.
func openIssuers(c *config.Config, read readFile) ([][]byte, error) {
	roots := make([][]byte, len(c.Exchange.Issuers))
	for i, k := range c.Exchange.Issuers {
		if k.CAFile == "" {
			continue
		}
		var err error
		if roots[i], err = read(k.CAFile); err != nil {
			err = safefile.Cause(err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(roots[i]) {
			err = errors.New("it has no certificate")
		}
		if err != nil {
			err = fmt.Errorf("%s: %w; name a file of certificates in PEM form", k.CAFile, err)
			return nil, c.Wrong(fmt.Sprintf("exchange.issuers[%d].ca_file", i), err)
		}
	}
	return roots, nil
}

// openExchange prepares to check workloads' tokens. former, the app before this one, has the
// keys of the same issuers already; nil if there was none.
func (a *App) openExchange(former *App) {
	if len(a.issuerRoots) == 0 {
		return
	}
	if former != nil && former.workloads != nil && a.upstream.Equal(former.upstream) &&
		reflect.DeepEqual(a.Config.Exchange.Issuers, former.Config.Exchange.Issuers) && reflect.DeepEqual(a.issuerRoots, former.issuerRoots) {
		a.workloads = former.workloads
		return
	}
	a.workloads = workload.New(a.Issuers(), a.usedTokens, a.Now)
}

// Issuers returns the issuers of workloads' tokens, with a way to each.
func (a *App) Issuers() (issuers []workload.Issuer) {
	for i, k := range a.Config.Exchange.Issuers {
		k.Transport = upstream.NewTransport(reach(a.upstream, a.issuerRoots[i]))
		issuers = append(issuers, k.Issuer)
	}
	return issuers
}

// reach returns how an issuer is reached: like other servers. One with roots of its own is
// the configuration's choice, wherever its address is.
func reach(common upstream.Config, roots []byte) upstream.Config {
	if roots != nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(roots)
		common.RootCAs = func() *x509.CertPool { return pool }
		common.AllowPrivate = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	}
	return common
}

// ExchangeConfig returns the configuration in force of the exchange of workloads' tokens.
// What it holds is in use until done is called.
func (r *Reloader) ExchangeConfig() (c exchange.Config, done func()) {
	a, done := r.Use()
	c = exchange.Config{Tokens: a.Clients.Issued, TTL: a.Config.Exchange.TTL, Log: a.Log}
	if a.workloads != nil {
		c.Check = a.workloads.Check
	}
	return c, done
}
