package signer

// row is a kind of request that Codex makes.
type row struct {
	host    string // "" is the host of chatgpt.base_url and those that the account has besides
	methods string
	path    string // below the path of chatgpt.base_url, unless a host is named
	kind    Kind
	upgrade string // the protocol that the connection may be upgraded to
	refuse  bool   // Codex does not make it, although a row below would match
}

// anything is what the families of paths are asked with.
const anything = "GET POST PUT PATCH DELETE"

// codexRows is which request of Codex carries what. The first row that matches a
// request decides. What no row matches, Codex does not ask for: the bootstrap of
// an agent (authenticate_app_v2, v1/agent/**), which the proxy does itself, and
// all that the web site uses.
func codexRows() []row {
	return []row{
		// The agent's own credential, where there is one.
		{"", "GET", "codex/responses", KindInference, "websocket", false},
		{"", "POST", "codex/responses", KindInference, "", false},
		{"", "POST", "codex/responses/*", KindInference, "", false}, // compaction

		// The client's own: the token that the server gave it at its enrolment.
		{"", "GET", "wham/remote/control/server", KindClient, "websocket", false},
		{"", "POST", "wham/remote/control/server/pair*", KindClient, "", false},
		{"", "POST", "wham/remote/control/server/pair/status", KindClient, "", false},

		// None. HEAD is codex doctor's, which is content with any answer.
		{"", "HEAD", "codex/responses", KindNone, "", false},
		{"ab.chatgpt.com", "POST", "/otlp/v1/metrics", KindNone, "", false},
		{"", "GET", "plugins/export/curated", KindNone, "", false},
		{"", "GET", "wham/agent-identities/jwks", KindNone, "", false},

		// The log-in's, where there is one, else the agent's.
		{"", "POST", "wham/remote/control/server/enroll", KindAccount, "", false},
		{"", "POST", "wham/remote/control/server/refresh", KindAccount, "", false},
		{"", anything, "wham/remote/**", KindUnknown, "", true}, // the control of other machines
		{"", anything, "wham/agent-identities/**", KindUnknown, "", true},
		{"", anything, "codex/**", KindAccount, "", false},
		{"", anything, "wham/**", KindAccount, "", false},
		{"", anything, "plugins/**", KindAccount, "", false},
		{"", anything, "ps/**", KindAccount, "", false},
		{"", anything, "connectors/**", KindAccount, "", false},
		{"", anything, "realtime/**", KindAccount, "", false},
		{"", "POST", "files", KindAccount, "", false},
		{"", "GET", "files/*", KindAccount, "", false},
		{"", "POST", "files/*/uploaded", KindAccount, "", false},
	}
}
