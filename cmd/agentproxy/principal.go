package main

import (
	"context"
	"net/url"
	"reflect"

	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
)

// principal is who clients act as: all of them, or those of one profile.
type principal struct {
	config *config
	*account
	signer signer.Signer
	scope  *signer.Scope
}

// newPrincipal opens whom config acts as. It shares with those of former, the app
// before this one, what is configured the same; former may be nil.
func (a *app) newPrincipal(config *config, former *app) (*principal, error) {
	n := &principal{config: config}
	settings := config.account()
	for _, old := range former.principals() {
		if !settings.equal(old.settings) {
			continue
		}
		n.account = old.account
		n.users.join()
		if old.config.profile == config.profile && reflect.DeepEqual(old.config.Signer, config.Signer) {
			n.signer = old.signer
		}
		break
	}
	if n.account == nil {
		n.account = a.newAccount(settings)
	}
	var err error
	if n.signer == nil {
		n.signer, err = config.newSigner(n.agent, a.env, a.now, a.metrics.count)
	}
	if err == nil {
		n.scope, _, err = config.newScope(a.newOrigins(n))
	}
	if err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// newOrigins returns the origins of whom p acts as.
func (a *app) newOrigins(p *principal) signer.Origins {
	base, err := url.Parse(p.config.ChatGPT.BaseURL)
	if err != nil {
		return nil // it was checked when the configuration was loaded
	}
	return &origins{
		base: base, transport: p.transport, signer: p.signer, now: a.now,
		account: func(ctx context.Context) (string, error) {
			account, err := p.agent.Account(ctx)
			return account.WorkspaceID, err
		},
		failed: func(err error) {
			a.logInForce.Load().Warn().AnErr("error", err).Msg("the backend did not say which hosts the account has besides its own; none is signed for meanwhile")
		},
	}
}

// principals returns all that the app has open.
func (a *app) principals() []*principal {
	if a == nil {
		return nil
	}
	var all []*principal
	for _, p := range append([]*principal{a.principal}, a.profiles...) {
		if p != nil {
			all = append(all, p)
		}
	}
	return all
}

// openPrincipals opens those of the configuration, and none of them if one cannot
// be opened.
func (a *app) openPrincipals(config *config, former *app) (err error) {
	defer func() {
		if err != nil {
			a.closePrincipals()
		}
	}()
	if a.principal, err = a.newPrincipal(config, former); err != nil {
		return err
	}
	a.profiles = make([]*principal, len(config.profiles))
	for i, p := range config.profiles {
		if p.refuse {
			continue
		}
		if a.profiles[i], err = a.newPrincipal(p.config, former); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) closePrincipals() {
	for _, p := range a.principals() {
		p.close()
	}
}

// start has those who are in use prepared in the background until ctx ends or they
// are closed, with the task of a session label.
func (a *app) start(ctx context.Context, label string) {
	for _, p := range a.inUse() {
		p.account.start(ctx, label)
	}
}

// proxyProfiles returns the profiles for the proxy.
func (a *app) proxyProfiles() (profiles []proxy.Profile) {
	for i, p := range a.config.profiles {
		profile := proxy.Profile{Name: p.name, Labels: p.labels, Refuse: p.refuse, Hosts: p.hosts}
		if !p.refuse {
			profile.Signer = a.profiles[i].signer
			profile.Scope = a.profiles[i].scope
			profile.OtherHosts = p.config.other
			profile.ConnectionsPerLabel = p.config.limits.ConnectionsPerLabel
		}
		profiles = append(profiles, profile)
	}
	return profiles
}
