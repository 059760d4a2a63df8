package app

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
)

// Principal is what clients act as: all of them, or those of one profile.
type Principal struct {
	Config  *config.Agent
	Account *Account
	Signer  signer.Signer
	Scope   *signer.Scope

	signers *signers
}

// openPrincipal opens the principal of an agent of the configuration. It shares parts that
// are configured the same with the principals of former, which may be nil.
func (a *App) openPrincipal(agent *config.Agent, former *App) (*Principal, error) {
	p := &Principal{Config: agent}
	settings := a.accountSettings(agent)
	for _, old := range former.principals() {
		if !settings.equal(old.Account.settings) {
			continue
		}
		p.Account = old.Account
		p.Account.users.join()
		if old.Config.Profile == agent.Profile && reflect.DeepEqual(old.Config.Signer, agent.Signer) {
			p.signers = old.signers
			p.signers.users.join()
		}
		break // the state directory, which is the profile's own, makes it the only one
	}
	if p.Account == nil {
		p.Account = a.openAccount(settings)
	}
	var err error
	if p.signers == nil {
		p.signers, err = a.newSigners(agent.Signer, p.Account.Agent)
	}
	if err == nil {
		p.Signer = p.signers.real
		p.Scope, _, err = agent.Scope.New(a.Config.BaseURL, a.newOrigins(p))
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// close ends what the principal is doing, unless another app shares it.
func (p *Principal) close() {
	if p.signers != nil {
		p.signers.close()
	}
	p.Account.Close()
}

// newOrigins returns the origins of the account that p acts for.
func (a *App) newOrigins(p *Principal) signer.Origins {
	base, err := url.Parse(a.Config.BaseURL)
	if err != nil {
		return nil // it was checked when the configuration was loaded
	}
	return &origins{
		base: base, transport: p.Account.Transport, signer: p.Signer, now: a.Now, asking: make(chan struct{}, 1),
		account: func(ctx context.Context) (string, error) {
			account, err := p.Account.Agent.Account(ctx)
			return account.WorkspaceID, err
		},
		failed: func(err error) {
			a.logInForce.Load().Warn().AnErr("error", err).Msg("the backend did not say which hosts the account has besides its own; none is signed for meanwhile")
		},
	}
}

// principals returns all open principals.
func (a *App) principals() []*Principal {
	if a == nil {
		return nil
	}
	all := append([]*Principal{a.Default}, a.Profiles...)
	return slices.DeleteFunc(all, func(p *Principal) bool { return p == nil })
}

// InUse returns the principals that clients may come to act as.
func (a *App) InUse() []*Principal {
	if a.Config.CoversAll() {
		return a.principals()[1:]
	}
	return a.principals()
}

// openPrincipals opens the principals of the configuration. If one cannot be opened, it
// closes the others.
func (a *App) openPrincipals(former *App) (err error) {
	defer func() {
		if err != nil {
			a.closePrincipals()
		}
	}()
	if a.Default, err = a.openPrincipal(&a.Config.Agent, former); err != nil {
		return err
	}
	profiles := a.Config.Profiles
	a.Profiles = make([]*Principal, len(profiles))
	for i := range profiles {
		if profiles[i].Refuse {
			continue
		}
		if a.Profiles[i], err = a.openPrincipal(&profiles[i].Agent, former); err != nil {
			return err
		}
	}
	return nil
}

func (a *App) closePrincipals() {
	for _, p := range a.principals() {
		p.close()
	}
}

// Start prepares the principals in use in the background until ctx ends or they are
// closed: the log-in, and where requests may be signed as an agent, the identity and the
// task of a session label.
func (a *App) Start(ctx context.Context, label string) {
	for _, p := range a.InUse() {
		p.Account.start(ctx, label, p.Config.Signer.UsesAgent())
	}
}

// proxyProfiles returns the profiles for the proxy.
func (a *App) proxyProfiles() (profiles []proxy.Profile) {
	for i, p := range a.Config.Profiles {
		profile := proxy.Profile{Name: p.Name, Labels: p.Labels, Refuse: p.Refuse, Hosts: p.Hosts}
		if !p.Refuse {
			profile.Signer = a.Profiles[i].Signer
			profile.Scope = a.Profiles[i].Scope
			profile.OtherHosts = p.Agent.OtherHosts
			profile.ConnectionsPerLabel, profile.Rates = p.Agent.ConnectionsPerLabel, p.Agent.Rates
		}
		profiles = append(profiles, profile)
	}
	return profiles
}

// Describe returns in a few words as whom the proxy signs, or why it cannot. It asks
// nobody.
func (a *App) Describe(ctx context.Context) string {
	n := len(a.Config.Profiles)
	switch {
	case a.Config.CoversAll():
		return fmt.Sprintf("%d profiles", n)
	case n > 0:
		return fmt.Sprintf("%s, or one of %d profiles", a.Default.Describe(ctx), n)
	}
	return a.Default.Describe(ctx)
}

// Describe is [App.Describe] for one principal.
func (p *Principal) Describe(ctx context.Context) string {
	use := p.Config.Signer.Default.Use
	switch use {
	case config.UseCommand:
		return "whatever the configured command prints"
	case config.UseToken:
		return "whoever the configured token stands for"
	}
	account, err := p.Account.Agent.Account(ctx)
	if err != nil {
		return "nobody yet (" + err.Error() + ")"
	}
	if use == config.UseBearer {
		return "the log-in of workspace " + account.WorkspaceID
	}
	id, err := p.Account.Agent.Identity(ctx)
	switch {
	case err == nil:
		return fmt.Sprintf("agent %s of workspace %s", id.AgentRuntimeID, account.WorkspaceID)
	case errors.Is(err, identity.ErrTokenLogin):
		return "the access token of workspace " + account.WorkspaceID
	case p.Config.Identity.Register:
		return fmt.Sprintf("an agent of workspace %s, to be registered", account.WorkspaceID)
	}
	return "the log-in of workspace " + account.WorkspaceID + ", which has no agent identity"
}
