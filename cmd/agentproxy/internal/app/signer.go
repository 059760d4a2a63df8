package app

import (
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/identity/agent"
	"github.com/agentproxy/agentproxy/signer"
)

// sessionHold is how long signers go by what they have read of the log-in and the identity. To
// look at a file wakes the runtime's watchdog, which costs more than the look. After a refusal
// they look at once.
const sessionHold = 10 * time.Millisecond

// signers are those of a principal. Apps that follow one another share them while they are
// configured the same.
type signers struct {
	real     signer.Signer
	known    signer.Signer // answers for real without asking anybody
	users    users
	commands []*signer.Command
}

// close ends the programs that the signers run, unless another app uses them.
func (s *signers) close() {
	if !s.users.leave() {
		return
	}
	for _, c := range s.commands {
		c.Close()
	}
}

// newSigners returns the signers of a principal.
func (a *App) newSigners(s config.Signer, agent *agent.Agent) (*signers, error) {
	observer, last, made := a.options.Observer, &outcomes{others: make([]outcome, len(s.All()))}, new(signers)
	made.users.join()
	builder := signerBuilder{
		onFailure: s.Default.OnFailure,
		agent:     agent,
		bearer:    last.bearer.watch(observer.Signer(config.UseBearer, signer.NewBearer(agent))),
		assertion: last.assertion.watch(observer.Signer(config.UseAssertion, signer.NewAgentAssertion(agent, a.Now).CacheSessions(sessionHold))),
		other: func(i int, r config.SignerRule) signer.Signer {
			return last.others[i].watch(observer.Signer(r.Use, a.newTokenSigner(r, agent, made)))
		},
	}
	var err error
	if made.real, err = builder.build(s); err != nil {
		return nil, err
	}
	sources := knownSources{agent, a.Clock, last}
	builder.bearer = signer.NewBearer(sources)
	builder.assertion = signer.NewAgentAssertion(sources, a.Now)
	builder.other = func(i int, _ config.SignerRule) signer.Signer { return &last.others[i] }
	made.known, err = builder.build(s)
	return made, err
}

// newTokenSigner returns the signer for use: command or use: token. It adds a command to
// those of made.
func (a *App) newTokenSigner(r config.SignerRule, agent *agent.Agent, made *signers) signer.Renewer {
	switch {
	case r.Use == config.UseCommand:
		c := signer.NewCommand(r.Command, a.Now, agent).In(a.Config.CommandDir()).OnPanic(a.logPanic)
		made.commands = append(made.commands, c)
		return c
	case r.TokenEnv != "":
		return signer.NewTokenFromEnv(r.TokenEnv, a.options.Env.Lookup, agent)
	}
	return signer.NewTokenFromFile(r.TokenFile, agent)
}

// signerBuilder makes the signers that a configuration names.
type signerBuilder struct {
	onFailure         string // of rules that name none
	agent             *agent.Agent
	bearer, assertion signer.Signer
	// other returns the i-th signer of [config.Signer.All], which is a command or a token.
	other func(i int, r config.SignerRule) signer.Signer
}

func (b signerBuilder) build(s config.Signer) (signer.Signer, error) {
	all := s.All()
	rules := signer.Rules{Default: b.signer(0, all[0])}
	for i, r := range s.Rules {
		rule, err := signer.NewRule(r.Match(), b.signer(i+1, all[i+1]))
		if err != nil {
			return nil, err
		}
		rules.Rules = append(rules.Rules, rule)
	}
	if len(rules.Rules) == 0 {
		return rules.Default, nil
	}
	return rules, nil
}

func (b signerBuilder) signer(i int, r config.SignerRule) signer.Signer {
	switch r.Use {
	case config.UseRefuse:
		return nil
	case config.UseNone:
		return signer.None{}
	case config.UseClient:
		return signer.Client{}
	case config.UseBearer:
		return signer.Bootstrap{Bearer: b.bearer, Next: b.bearer}
	case config.UseAssertion:
		return signer.Bootstrap{Next: b.assertion}
	case config.UseCommand, config.UseToken:
		s := b.other(i, r)
		return signer.Bootstrap{Bearer: s, Next: s}
	}
	auto := signer.Auto{First: b.assertion, Account: b.bearer, Agent: b.agent}
	if r.OnFailure == config.FailToBearer || r.OnFailure == "" && b.onFailure == config.FailToBearer {
		auto.Fallback = b.bearer
		return signer.Bootstrap{Bearer: b.bearer, Next: auto}
	}
	return signer.Bootstrap{Next: auto} // nothing is done in the name of the log-in
}
