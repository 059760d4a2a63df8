package identity

// Protocol is a generation of the protocol by which agents and their tasks are
// registered.
type Protocol string

// The protocols.
const (
	// ProtocolAuto is whichever of the two is answered, ProtocolAccounts first. It is a
	// choice in a configuration, and never the protocol of a record.
	ProtocolAuto Protocol = "auto"
	// ProtocolAccounts is the second generation, that of Codex 0.142 and later. Agents
	// are registered with the accounts service, by an access token.
	ProtocolAccounts Protocol = "accounts"
	// ProtocolBackend is the first generation, that of Codex 0.121 to 0.123. Agents are
	// registered with the backend, which wants a human biscuit.
	ProtocolBackend Protocol = "backend"
)

// other returns the other one of the two generations.
func (p Protocol) other() Protocol {
	if p == ProtocolBackend {
		return ProtocolAccounts
	}
	return ProtocolBackend
}

// Order returns the protocols to try under the choice p. answered is the one that was
// answered last, "" if none was; it comes first.
func (p Protocol) Order(answered Protocol) []Protocol {
	switch {
	case p != ProtocolAuto:
		return []Protocol{p}
	case answered == "":
		answered = ProtocolAccounts
	}
	return []Protocol{answered, answered.other()}
}
