package chatgpttest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// credentialHeaders are those in which a log-in or an agent is named.
var credentialHeaders = [...]string{
	"Authorization", "Proxy-Authorization", "Cookie",
	"Chatgpt-Account-Id", "X-Openai-Authorization", "X-Openai-Fedramp", "X-Openai-Agent-Assertion",
}

// Unwanted returns what arrived with a credential though Codex sends none there,
// or another one than Codex sends: one line a request, without the credential. A
// test that gets a line has failed: such a request is answered all the same, so
// that nothing else tells of the credential that was given away.
func (s *Server) Unwanted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.state.unwanted)
}

// maxUnwanted bounds what is remembered. One would do.
const maxUnwanted = 1000

// checkUnwanted remembers r if it names a log-in or an agent, and must not.
func (s *Server) checkUnwanted(r *http.Request, rule authRule) {
	var found []string
	for _, name := range credentialHeaders {
		if rule == authOwn && name == "Authorization" {
			continue // the handler knows what is right
		}
		if len(r.Header[name]) > 0 {
			found = append(found, name)
		}
	}
	if len(found) > 0 {
		s.unwanted(r, strings.Join(found, ", ")+" where Codex sends none")
	}
}

func (s *Server) unwanted(r *http.Request, what string) {
	line := fmt.Sprintf("%s %s%s: %s", r.Method, r.Host, rawPath(r), what)
	s.Config.Logf("unwanted credential: %s", line)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.state.unwanted) < maxUnwanted {
		s.state.unwanted = append(s.state.unwanted, line)
	}
}
