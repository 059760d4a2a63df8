package signer

// Kind is the kind of credential that a request is to carry. A [Scope] decides it. The
// signers decide which credential of the account that is.
type Kind int

// The kinds.
const (
	// KindUnknown is a request that no scope has decided on.
	KindUnknown Kind = iota
	// KindInference asks the model: the agent's own credential where there is one.
	KindInference
	// KindAccount is all else that Codex asks of the backend: that of the log-in
	// where there is one, else the agent's.
	KindAccount
	// KindClient is a request whose credential the client got from the server
	// itself. It goes as the client sent it.
	KindClient
	// KindNone is a request to which Codex adds no credential. It goes without one.
	KindNone
	// KindBiscuit asks for the biscuit of the first generation of the protocol,
	// which takes the log-in's token and nothing else.
	KindBiscuit
)

// String returns the kind in one word, which logs and commands use.
func (k Kind) String() string {
	names := [...]string{
		KindUnknown: "unknown", KindInference: "inference", KindAccount: "account", KindClient: "client", KindNone: "none", KindBiscuit: "biscuit",
	}
	return names[k]
}
