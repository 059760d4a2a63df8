package signer

import "context"

// Rule signs the requests that it matches with a signer of their own, or refuses them.
type Rule struct {
	matcher
	signer Signer // nil: refuse
}

// NewRule returns the rule by which s signs the requests that m matches. If s is nil, the
// rule refuses them.
func NewRule(m Match, s Signer) (Rule, error) {
	host, err := parseHost(m.Host)
	if err != nil {
		return Rule{}, err
	}
	matcher, err := newMatcher(m, host)
	return Rule{matcher, s}, err
}

// Rules is a signer that asks the first rule that matches a request, or Default if none
// does.
type Rules struct {
	Rules   []Rule
	Default Signer
}

var _ Renewer = Rules{}

// Sign implements [Signer].
func (s Rules) Sign(ctx context.Context, r Request) (*Authorization, error) {
	by, err := s.signerFor(r)
	if err != nil {
		return nil, err
	}
	return by.Sign(ctx, r)
}

// Renew implements [Renewer].
func (s Rules) Renew(ctx context.Context, r Request, refused *Authorization) (*Authorization, error) {
	by, err := s.signerFor(r)
	if err != nil {
		return nil, err
	}
	return renew(ctx, by, r, refused)
}

// Find returns the index of the rule that decides on a request, -1 for none. The
// error says why the request is refused.
func (s Rules) Find(r Request) (int, error) {
	if len(s.Rules) == 0 {
		return -1, nil
	}
	path, strict := strictPath(r.Path)
	method := methodBit(r.Method)
	for i := range s.Rules {
		rule := &s.Rules[i]
		if !rule.host.match(r.Host, "") || r.Method != "" && !rule.methods.has(method) {
			continue
		}
		switch {
		case rule.path != nil && !strict:
			return i, Errorf(AmbiguousPath, "the path has bytes in it that servers take for different things, so that a rule of signer.rules might be got round; write it in its plain form")
		case rule.signer == nil:
			if rule.matchPathFold(path) {
				return i, Errorf(RuleRefused, "a rule of signer.rules refuses it")
			}
		case rule.matchPath(path):
			return i, nil
		}
	}
	return -1, nil
}

func (s Rules) signerFor(r Request) (Signer, error) {
	i, err := s.Find(r)
	switch {
	case err != nil:
		return nil, err
	case i >= 0:
		return s.Rules[i].signer, nil
	}
	return s.Default, nil
}
