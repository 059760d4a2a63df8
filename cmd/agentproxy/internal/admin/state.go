package admin

import (
	"fmt"
	"slices"
)

// The states, which are the icons of the page.
const (
	stateGood = "good"
	stateWarn = "warn" // it signs, and somebody has something to do
	stateBad  = "bad"  // it cannot sign
)

// State returns the state of the proxy as a whole.
func (s Status) State() string {
	switch {
	case !s.Ready:
		return stateBad
	case s.Attention() != "":
		return stateWarn
	}
	return stateGood
}

// Attention returns in a few words what somebody has to do although requests can be
// signed, the most urgent first. "" is nothing.
func (s Status) Attention() string {
	if !s.Ready {
		return ""
	}
	if able := s.CanSign(); able < len(s.Agents) {
		return fmt.Sprintf("%d of %d agents cannot sign", len(s.Agents)-able, len(s.Agents))
	}
	if slices.ContainsFunc(s.Agents, func(a agentStatus) bool { return a.LoginEnded != "" }) {
		return "log in again"
	}
	if s.ClockExcess != 0 {
		return "wrong clock"
	}
	if slices.ContainsFunc(s.Agents, func(a agentStatus) bool { return a.Quota.UsedUp() }) {
		return "allowance used up"
	}
	if s.Soon(s.CAExpires, 30) {
		return "the CA expires soon"
	}
	return ""
}

// Title returns the state in a few words, the mark first: it is all of the page that a row
// of tabs shows.
func (s Status) Title() string {
	switch s.State() {
	case stateBad:
		return "✗ cannot sign – agentproxy"
	case stateWarn:
		return "! " + s.Attention() + " – agentproxy"
	}
	return "✓ signing – agentproxy"
}
