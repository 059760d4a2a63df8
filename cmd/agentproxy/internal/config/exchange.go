package config

import (
	"net/url"
	"slices"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access/issued"
	"github.com/agentproxy/agentproxy/proxy/access/workload"
)

// exchangeKeys configure the client tokens that workloads get for tokens of their platform.
type exchangeKeys struct {
	Listen  string       `yaml:"listen"`
	TTL     string       `yaml:"ttl"`
	Issuers []issuerKeys `yaml:"issuers"`
}

type issuerKeys struct {
	Issuer    string           `yaml:"issuer"`
	Audience  string           `yaml:"audience"`
	KeysURL   string           `yaml:"keys_url"`
	CAFile    string           `yaml:"ca_file"`
	TokenFile string           `yaml:"token_file"`
	SingleUse bool             `yaml:"single_use"`
	Outlive   bool             `yaml:"outlive"`
	Labels    []claimLabelKeys `yaml:"labels"`
}

type claimLabelKeys struct {
	Claims map[string]string `yaml:"claims"`
	Label  string            `yaml:"label"`
}

// Exchange says which workloads get client tokens.
type Exchange struct {
	Listen  string // "host:port" or "unix:/path", "" for none of its own
	TTL     time.Duration
	Issuers []ExchangeIssuer // none: no workload
}

// ExchangeIssuer is an issuer of workloads' tokens. Its Transport is not set.
type ExchangeIssuer struct {
	workload.Issuer
	CAFile string // of the roots for its servers, "" for those of others
}

func (f *File) checkExchange() (Exchange, error) {
	k := f.Exchange
	x := Exchange{Listen: k.Listen}
	var err error
	if x.TTL, err = time.ParseDuration(k.TTL); err != nil || x.TTL < time.Second || x.TTL > issued.MaxTTL {
		return x, wrong("exchange.ttl", "%q is not a time such as 1h or 30m, a second at least and a year at most", k.TTL)
	}
	if k.Listen != "" {
		if _, _, err := ParseAddress(k.Listen); err != nil {
			return x, at("exchange.listen", err)
		}
	}
	switch {
	case len(k.Issuers) == 0 && k.Listen != "":
		return x, wrong("exchange.listen", "nobody would be given a token; set exchange.issuers, or leave it out")
	case len(k.Issuers) > 0 && k.Listen == "" && f.Admin == "":
		return x, wrong("exchange.issuers", "there is no address to ask at; set exchange.listen")
	case len(k.Issuers) > 0 && f.Clients.Issued == IssuedOff:
		return x, wrong("exchange.issuers", "clients.issued is off, so the tokens would let nobody in; set it to also or only")
	}
	for i, keys := range k.Issuers {
		issuer, err := keys.check()
		if err == nil && slices.ContainsFunc(x.Issuers, func(other ExchangeIssuer) bool { return other.URL == issuer.URL }) {
			err = wrong("issuer", "%s is there already; put its labels together", issuer.URL)
		}
		if err != nil {
			return x, below(element("exchange.issuers", i), err)
		}
		x.Issuers = append(x.Issuers, issuer)
	}
	return x, nil
}

func (k issuerKeys) check() (ExchangeIssuer, error) {
	issuer := ExchangeIssuer{CAFile: k.CAFile, Issuer: workload.Issuer{
		URL: k.Issuer, Audience: k.Audience, KeysURL: k.KeysURL, TokenFile: k.TokenFile, SingleUse: k.SingleUse, Outlive: k.Outlive,
	}}
	if !isHTTPS(k.Issuer) {
		return issuer, wrong("issuer", "%q is not an https URL; write it as the tokens' claim iss has it", k.Issuer)
	}
	if k.KeysURL != "" && !isHTTPS(k.KeysURL) {
		return issuer, wrong("keys_url", "%q is not an https URL", k.KeysURL)
	}
	switch k.Audience {
	case "":
		return issuer, wrong("audience", "it is missing: tokens that are meant for others would be taken; name one of this proxy's own, such as agentproxy")
	case k.Issuer:
		return issuer, wrong("audience", "tokens for the issuer itself are credentials that no other should be shown; name one of this proxy's own, such as agentproxy")
	}
	if k.Outlive && !k.SingleUse {
		return issuer, wrong("outlive", "whoever finds a token could use it again to stay; set single_use too, or leave it out")
	}
	if len(k.Labels) == 0 {
		return issuer, wrong("labels", "no token of the issuer would stand for a label; list claims and labels")
	}
	for i, keys := range k.Labels {
		label, err := workload.ParseLabel(keys.Claims, keys.Label)
		if err != nil {
			return issuer, at(element("labels", i), err)
		}
		issuer.Labels = append(issuer.Labels, label)
	}
	return issuer, nil
}

func isHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}
