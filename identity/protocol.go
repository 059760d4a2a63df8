package identity

// Protocol names a generation of the protocol by which agents and their tasks
// are registered.
type Protocol string

// The protocols.
const (
	// ProtocolAuto stands for whichever of the two is answered, ProtocolAccounts
	// first. It is a choice, and no record is of it.
	ProtocolAuto Protocol = "auto"
	// ProtocolAccounts is the second generation, Codex's since 0.142: agents are
	// registered with the accounts service, by an access token.
	ProtocolAccounts Protocol = "accounts"
	// ProtocolBackend is the first generation, that of Codex 0.121 to 0.123:
	// agents are registered with the backend, which wants a human biscuit.
	ProtocolBackend Protocol = "backend"
)

// other returns the other one of the two.
func (p Protocol) other() Protocol {
	if p == ProtocolBackend {
		return ProtocolAccounts
	}
	return ProtocolBackend
}

// Order returns the protocols to try under the choice p, the one that answered
// last in front. answered is "" if that is not known.
func (p Protocol) Order(answered Protocol) []Protocol {
	switch {
	case p != ProtocolAuto:
		return []Protocol{p}
	case answered == "":
		answered = ProtocolAccounts
	}
	return []Protocol{answered, answered.other()}
}
