package chatgpttest

import "fmt"

// A Generation is one of the two forms that the identity protocol has had. Agents
// of one generation and the other differ in where they are registered and in what
// goes beside their assertions.
type Generation int

const (
	// AnyGeneration is that of an identity of which nobody can tell: Codex of
	// either generation reads it. Its assertions are taken with the account's id
	// and without.
	AnyGeneration Generation = iota

	// FirstGeneration agents are registered at the backend itself, with a human
	// biscuit. A ChatGPT-Account-ID beside their assertions is refused.
	FirstGeneration

	// SecondGeneration agents are registered at auth.openai.com, with an access
	// token. Their assertions need a ChatGPT-Account-ID beside them.
	SecondGeneration
)

// String returns the generation's name as agentproxy's configuration has it.
func (g Generation) String() string {
	switch g {
	case AnyGeneration:
		return "any"
	case FirstGeneration:
		return "backend"
	case SecondGeneration:
		return "accounts"
	}
	return fmt.Sprintf("Generation(%d)", int(g))
}

// SetMissing has the endpoints with which agents and tasks of the generation are
// registered answer with status, such as 404, 405 or 410, as a server does that
// does not have them. A status of 0 brings them back.
func (s *Server) SetMissing(g Generation, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.missing[g] = status
}

// missing returns with which status the generation's endpoints answer that they
// are not there, or 0.
func (s *Server) missing(g Generation) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.missing[g]
}

// SetInferenceOnly has assertions refused with 401 outside of codex/responses, as
// the real server was seen to refuse them on plugins, models and analytics.
func (s *Server) SetInferenceOnly(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.state.inferenceOnly = on
}

func (s *Server) inferenceOnly() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.inferenceOnly
}
