package doctor

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// credentials are what requests can be signed with.
type credentials struct {
	loggedIn bool // there is a log-in, or an identity that outlives one
	token    bool // an access token is good
	renews   bool // the access token is spent, and can be refreshed
	agent    bool // an agent identity has a task
	comes    bool // the proxy registers what is missing of identity and task
}

// checkLogin finds what requests can be signed with as somebody.
func (k *checker) checkLogin(ctx context.Context) (c credentials) {
	const check = "log-in"
	signer := k.config.Agent.Signer
	if !signer.UsesLogin() {
		k.ok(check, "signer.use is %s, which needs none", signer.Default.Use)
		return c
	}
	agent := k.app.Default.Account.Agent
	account, err := agent.Account(ctx)
	expiry, tokenErr := agent.TokenExpiry(ctx)
	if err == nil && errors.Is(tokenErr, identity.ErrPlaceholder) {
		err = tokenErr
	}
	if errors.Is(err, identity.ErrNoLogin) && k.isEphemeral() {
		k.fail(check, k.remedyOwnLogin(), "there is none that agentproxy can read: Codex keeps its own in memory only")
		return c
	}
	if err != nil {
		k.fail(check, k.remedyLogin(err), "%s", err)
		return c
	}
	c.loggedIn = true
	who := cmp.Or(account.Email, account.UserID, "somebody whom it does not name")
	if errors.Is(tokenErr, identity.ErrNoLogin) {
		if _, err := k.app.Default.Account.Home.Load(ctx); errors.Is(err, identity.ErrNoLogin) && k.config.Agent.Identity.File == "" {
			k.warn(check, k.remedyLogin(err), "nobody is logged in; the agent identity of %s in workspace %s, which was registered before, goes on", who, account.WorkspaceID)
		} else {
			k.ok(check, "the agent identity of %s in workspace %s, without an access token", who, account.WorkspaceID)
		}
		return c
	}
	k.ok(check, "%s in workspace %s", who, account.WorkspaceID)
	k.checkToken(ctx, &c, expiry, tokenErr)
	return c
}

// remedyLogin returns what to do about a log-in that cannot be used, for the reason err.
func (k *checker) remedyLogin(err error) remedy {
	switch id := k.config.Agent.Identity; {
	case id.File != "":
		return k.set("put an identity into identity.file, or leave the key out")
	case id.AccessToken != "":
		return do("unset " + config.AccessTokenVariable)
	case errors.Is(err, identity.ErrPlaceholder):
		return k.set("set identity.codex_home, or log in")
	case errors.Is(err, fs.ErrPermission):
		path := quote(k.app.Default.Account.Home.Path())
		return do(`sudo chown "$(id -un)" ` + path + " && chmod 600 " + path)
	}
	return do(k.logIn())
}

// remedyOwnLogin is a log-in of agentproxy's own.
func (k *checker) remedyOwnLogin() remedy {
	if k.config.Agent.Identity.CheckOwnLogin() != nil {
		return k.set("set identity.login to own and leave out identity.codex_home and identity.file, then run agentproxy login")
	}
	return do(k.ownAs("login"))
}

// checkToken finds whether the access token of the log-in is good.
func (k *checker) checkToken(ctx context.Context, c *credentials, expiry time.Time, err error) {
	const check = "token"
	agent := k.app.Default.Account.Agent
	expired := !expiry.IsZero() && !k.app.Clock.Backend().Before(expiry)
	ended := agent.LoginEnded(ctx)
	c.token = err == nil && !expired
	c.renews = err == nil && expired && agent.CanRefresh(ctx)
	at := expiry.UTC().Format(time.RFC3339)
	switch {
	case err != nil:
		k.fail(check, k.remedyLogin(err), "%s", err)
	case ended != nil && expired:
		k.fail(check, do(k.logIn()), "it expired at %s: %s", at, ended)
	case ended != nil:
		k.fail(check, do(k.logIn()), "%s; the last access token may be good for a while", ended)
	case expiry.IsZero():
		k.ok(check, "it does not say when it expires")
	case c.renews:
		k.warn(check, k.try(), "it expired at %s, and the next request has it refreshed", at)
	case expired:
		k.fail(check, do(k.logIn()), "it expired at %s, and there is nothing to refresh it with", at)
	default:
		k.ok(check, "good until %s", at)
	}
}

// checkIdentity finds whether requests can be signed as an agent.
func (k *checker) checkIdentity(ctx context.Context, c *credentials) {
	const check = "identity"
	use := k.config.Agent.Signer.Default.Use
	if use != config.UseAuto && use != config.UseAssertion {
		k.ok(check, "signer.use is %s, which needs none", use)
		return
	}
	if !c.loggedIn {
		return // nobody can be acted for, and the log-in has told why
	}
	agent := k.app.Default.Account.Agent
	id, err := agent.Identity(ctx)
	if err != nil {
		k.identityMissing(ctx, c, err)
		return
	}
	k.ok(check, "agent %s", id.AgentRuntimeID)
	registers := k.config.Agent.Identity.Register
	task, ok := agent.Task(ctx, "")
	switch {
	case ok && registers && agent.TaskDue(ctx, ""):
		c.agent = true
		k.ok("task", "%s; it is due to be replaced, and the next request begins that", task.ID)
	case ok:
		c.agent = true
		k.ok("task", "%s", task.ID)
	case registers:
		c.comes = true
		k.ok("task", "none yet for clients without a session label; their next request has one registered")
	case k.tokenStandsIn(c):
		k.warn("task", k.remedyRegister(), "none, and identity.register is false: requests are signed with the log-in's token")
	default:
		k.fail("task", k.remedyRegister(), "none, and identity.register is false")
	}
}

// remedyRegister is what to do where nothing is registered because the configuration says so.
func (k *checker) remedyRegister() remedy {
	return k.set("set identity.register to true, or import an identity that has a task")
}

// tokenStandsIn reports whether requests are signed with the log-in's token where they
// cannot be signed as an agent.
func (k *checker) tokenStandsIn(c *credentials) bool {
	use := k.config.Agent.Signer.Default
	return use.Use == config.UseAuto && use.OnFailure != config.FailToRefuse && (c.token || c.renews)
}

// identityMissing tells that there is no identity to sign as, for the reason err, and what
// comes of that.
func (k *checker) identityMissing(ctx context.Context, c *credentials, err error) {
	const check = "identity"
	standsIn := k.tokenStandsIn(c)
	missing := errors.Is(err, identity.ErrNoIdentity)
	registers := (c.token || c.renews) && k.app.Default.Account.Agent.Registers(ctx, err)
	register := do(k.ownAs("identity", "register"))
	if e, ok := errors.AsType[*safefile.ModeError](err); ok {
		register = do(k.chmod(check, e))
	} else if !c.token && !c.renews {
		register = k.remedyLogin(err) // nothing is registered without a token
	} else if !k.config.Agent.Identity.Register {
		register = k.remedyRegister() // no task is registered either
	}
	switch {
	case errors.Is(err, identity.ErrTokenLogin) && standsIn:
		k.ok(check, "none: the log-in is a workspace's access token")
	case errors.Is(err, identity.ErrTokenLogin):
		k.fail(check, k.set("set signer.use to bearer"), "%s", err)
	case registers && missing:
		c.comes = true
		k.warn(check, remedy{"to register it now", register.command}, "none yet; the next request has one registered")
	case registers && standsIn:
		k.warn(check, register, "%s; the next request has another registered, and is signed with the log-in's token if that fails", err)
	case standsIn && missing:
		k.warn(check, register, "none, and identity.register is false: requests are signed with the log-in's token")
	case standsIn:
		k.warn(check, register, "%s; requests are signed with the log-in's token", err)
	default:
		k.fail(check, register, "%s", err)
	}
}
