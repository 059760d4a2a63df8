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
	Listen  string       `yaml:"listen" kind:"address"`
	TTL     string       `yaml:"ttl" kind:"duration"`
	Issuers []issuerKeys `yaml:"issuers"`
}

type issuerKeys struct {
	Issuer    string           `yaml:"issuer" doc:"The https URL of the issuer, as the tokens' claim iss has it." required:"true"`
	Audience  string           `yaml:"audience" doc:"The audience that tokens must be for, a name of this proxy's own." kind:"text" required:"true"`
	KeysURL   string           `yaml:"keys_url" doc:"The https URL of the issuer's keys, if discovery does not name it."`
	CAFile    string           `yaml:"ca_file" doc:"A file of certificates to trust for the issuer's servers."`
	TokenFile string           `yaml:"token_file" doc:"A file with the token that is shown to the issuer's servers."`
	SingleUse bool             `yaml:"single_use" doc:"Whether each token is good once."`
	Outlive   bool             `yaml:"outlive" doc:"Whether client tokens may outlive the token that they were given for."`
	Labels    []claimLabelKeys `yaml:"labels" doc:"Which claims stand for which session label." required:"true"`
}

type claimLabelKeys struct {
	Claims map[string]string `yaml:"claims" doc:"The claims that a token must have, and their values."`
	Label  string            `yaml:"label" doc:"The session label of its client token." kind:"text"`
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
	var m mistakes
	var err error
	if x.TTL, err = time.ParseDuration(k.TTL); err != nil || x.TTL < time.Second || x.TTL > issued.MaxTTL {
		m.wrong("exchange.ttl", "%q is not a time such as 1h or 30m, a second at least and a year at most", k.TTL)
	}
	if k.Listen != "" {
		_, _, err := ParseAddress(k.Listen)
		m.add(at("exchange.listen", err))
	}
	switch {
	case len(k.Issuers) == 0 && k.Listen != "":
		m.wrong("exchange.listen", "nobody would be given a token; set exchange.issuers, or leave it out")
	case len(k.Issuers) > 0 && k.Listen == "" && f.Admin == "":
		m.wrong("exchange.issuers", "there is no address to ask at; set exchange.listen")
	case len(k.Issuers) > 0 && f.Clients.Issued == IssuedOff:
		m.wrong("exchange.issuers", "clients.issued is off, so the tokens would let nobody in; set it to also or only")
	}
	for i, keys := range k.Issuers {
		issuer, err := keys.check()
		if err == nil && slices.ContainsFunc(x.Issuers, func(other ExchangeIssuer) bool { return other.URL == issuer.URL }) {
			err = wrong("issuer", "%s is there already; put its labels together", issuer.URL)
		}
		m.add(below(element("exchange.issuers", i), err))
		x.Issuers = append(x.Issuers, issuer)
	}
	return x, m.err()
}

func (k issuerKeys) check() (ExchangeIssuer, error) {
	issuer := ExchangeIssuer{CAFile: k.CAFile, Issuer: workload.Issuer{
		URL: k.Issuer, Audience: k.Audience, KeysURL: k.KeysURL, TokenFile: k.TokenFile, SingleUse: k.SingleUse, Outlive: k.Outlive,
	}}
	var m mistakes
	if !isHTTPS(k.Issuer) {
		m.wrong("issuer", "%q is not an https URL; write it as the tokens' claim iss has it", k.Issuer)
	}
	if k.KeysURL != "" && !isHTTPS(k.KeysURL) {
		m.wrong("keys_url", "%q is not an https URL", k.KeysURL)
	}
	switch k.Audience {
	case "":
		m.wrong("audience", "it is missing: tokens that are meant for others would be taken; name one of this proxy's own, such as agentproxy")
	case k.Issuer:
		m.wrong("audience", "tokens for the issuer itself are credentials that no other should be shown; name one of this proxy's own, such as agentproxy")
	}
	if k.Outlive && !k.SingleUse {
		m.wrong("outlive", "whoever finds a token could use it again to stay; set single_use too, or leave it out")
	}
	if len(k.Labels) == 0 {
		m.wrong("labels", "no token of the issuer would stand for a label; list claims and labels")
	}
	for i, keys := range k.Labels {
		label, err := workload.ParseLabel(keys.Claims, keys.Label)
		m.add(at(element("labels", i), err))
		issuer.Labels = append(issuer.Labels, label)
	}
	return issuer, m.err()
}

func isHTTPS(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme == "https" && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}
