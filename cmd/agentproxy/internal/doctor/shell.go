package doctor

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// leads returns the variables of this shell that lead programs to the listener, and those that
// lead them past it.
func (k *checker) leads() (here, past []clientenv.Lead) {
	for _, lead := range clientenv.Leads(k.env, k.config) {
		switch {
		case !lead.HTTPS:
		case lead.Here:
			here = append(here, lead)
		default:
			past = append(past, lead)
		}
	}
	return here, past
}

// remedyShell is how a shell, or one program, comes to use the proxy.
func (k *checker) remedyShell() remedy {
	// env has nothing to print for a listener without a port.
	if k.serving && k.port() != "" {
		return do(`eval "$(` + k.own("env") + `)"`)
	}
	return do(k.own("run", "--", "codex"))
}

// checkShell finds whether programs started from this shell would use the proxy.
func (k *checker) checkShell() {
	const check = "shell"
	here, past := k.leads()
	switch others := clientenv.Leads(k.env, k.config); {
	case len(here) == 0 && len(past) == 0 && len(others) > 0:
		k.warn(check, k.remedyShell(), "only %s is set, which no https:// request goes by: programs started here go past the proxy", others[0].Name)
	case len(here) == 0 && len(past) == 0:
		k.warn(check, k.remedyShell(), "no variable leads programs to the proxy; those that agentproxy run starts need none")
	case len(here) == 0:
		k.warn(check, k.remedyShell(), "%s leads to %s, past this proxy", past[0].Name, past[0].Place())
	case len(past) > 0:
		k.warn(check, k.remedyShell(), "%s leads to the proxy, but %s to %s, and programs differ in which they go by", here[0].Name, past[0].Name, past[0].Place())
	default:
		k.checkLeads(here)
	}
	if len(here) == 0 {
		return
	}
	if hosts := clientenv.Excluded(k.env, k.config); len(hosts) > 0 {
		k.warn(check, k.remedyShell(), "NO_PROXY, or no_proxy, has %s, so that requests go past the proxy", strings.Join(hosts, ","))
	}
	for _, name := range []string{"CODEX_API_KEY", config.AccessTokenVariable} {
		if k.env.Get(name) != "" {
			k.warn(check, do("unset "+name), "%s is set: a Codex started here prefers it to the log-in, and holds a credential", name)
		}
	}
}

// checkLeads finds whether the proxy lets in programs that go by these variables.
func (k *checker) checkLeads(leads []clientenv.Lead) {
	const check = "shell"
	for _, lead := range leads {
		if lead.URL.Scheme != "http" {
			k.fail(check, k.remedyShell(), "%s has the scheme %s, and the proxy speaks http", lead.Name, lead.URL.Scheme)
			return
		}
		if !app.NeedsToken(k.app.Clients) {
			continue
		}
		password, _ := lead.URL.User.Password()
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(lead.URL.User.Username(), password)
		r.Header["Proxy-Authorization"] = r.Header["Authorization"]
		if _, refused := access.New(k.app.Clients, zerolog.Nop()).Admit(r); refused != nil {
			r := k.remedyShell()
			if k.app.Clients.IssuedOnly {
				r = remedy{"put another token into " + lead.Name, k.own("token", "issue", "--label", cmp.Or(lead.URL.User.Username(), "agentproxy"), "--ttl", "2h")}
			}
			k.fail(check, r, "the proxy refuses what %s shows (%s)", lead.Name, refused.Code)
			return
		}
	}
	k.ok(check, "it leads programs to the proxy, by %s", names(leads))
}

func names(leads []clientenv.Lead) string {
	all := make([]string, len(leads))
	for i, lead := range leads {
		all[i] = lead.Name
	}
	return strings.Join(all, ", ")
}
