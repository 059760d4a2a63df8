package workload

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/proxy/access"
)

// Label is the session label that certain claims stand for.
type Label struct {
	claims []claim
	// parts are text and the names of claims by turns, text first.
	parts []string
}

// claim is what one claim of a token must be.
type claim struct {
	name string
	want access.LabelPattern
}

// ParseLabel returns the label of tokens whose claims match patterns, in which "*" stands for
// any text. {NAME} in the label stands for the value of that claim. A name such as
// kubernetes.io/namespace finds a claim within another.
func ParseLabel(claims map[string]string, label string) (Label, error) {
	var l Label
	certain := false
	for name, value := range claims {
		pattern, err := access.ParseLabelPattern(value)
		if err != nil {
			return l, fmt.Errorf("claim %s: %w", name, err)
		}
		certain = certain || strings.Trim(value, "*") != ""
		l.claims = append(l.claims, claim{name, pattern})
	}
	if !certain {
		return l, errors.New("no claim is named with a value that it must have, so that every token of the issuer would do; name one, as in claims: {sub: …}")
	}
	slices.SortFunc(l.claims, func(a, b claim) int { return strings.Compare(a.name, b.name) })
	rest := label
	for {
		text, after, found := strings.Cut(rest, "{")
		l.parts = append(l.parts, text)
		if strings.Contains(text, "}") {
			return l, fmt.Errorf("label %q has a } without a {", label)
		}
		if !found {
			break
		}
		name, tail, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.Contains(name, "{") {
			return l, fmt.Errorf("label %q: the name of a claim stands between { and }", label)
		}
		if text == "" && len(l.parts) > 1 {
			return l, fmt.Errorf("label %q: there must be text between }{, such as _, or two workloads could have one label", label)
		}
		l.parts = append(l.parts, name)
		rest = tail
	}
	fixed := ""
	for i := 0; i < len(l.parts); i += 2 {
		fixed += l.parts[i]
	}
	if label == "" {
		return l, errors.New("it has no label")
	}
	return l, checkLabel(fixed)
}

// checkLabel returns an error for a label that cannot be in a client's URL.
func checkLabel(label string) error {
	if wrong := access.CheckLabel(label); wrong != "" {
		return fmt.Errorf("the label %s", wrong)
	}
	if strings.Contains(label, ":") {
		return errors.New("the label has a colon, which cannot be in the user name of a URL")
	}
	return nil
}

// labelOf returns the label that claims stand for.
func labelOf(labels []Label, claims map[string]any) (string, *Error) {
	for _, l := range labels {
		if !l.match(claims) {
			continue
		}
		label, err := l.expand(claims)
		if err != nil {
			return "", &Error{Code: NoLabel, Message: "the token's claims make no session label: " + err.Error(), Cause: err}
		}
		return label, nil
	}
	return "", refusef(NoLabel, "the token's claims stand for no session label; add them to the labels of its issuer in exchange.issuers")
}

func (l Label) match(claims map[string]any) bool {
	for _, c := range l.claims {
		value, ok := find(claims, c.name)
		if !ok || !matches(c.want, value) {
			return false
		}
	}
	return true
}

// matches reports whether a claim, or one of the elements of a list, matches.
func matches(want access.LabelPattern, value any) bool {
	if list, ok := value.([]any); ok {
		return slices.ContainsFunc(list, func(v any) bool {
			s, ok := text(v)
			return ok && want.Match(s)
		})
	}
	s, ok := text(value)
	return ok && want.Match(s)
}

// expand returns the label for claims.
func (l Label) expand(claims map[string]any) (string, error) {
	var b strings.Builder
	for i, part := range l.parts {
		if i%2 == 0 {
			b.WriteString(part)
			continue
		}
		value, _ := find(claims, part)
		s, ok := text(value)
		if !ok || s == "" {
			return "", fmt.Errorf("there is no claim %s, or it is not text", part)
		}
		// Read from the left, the label must say where each value ends.
		if after := l.parts[i+1]; i+2 < len(l.parts) && strings.Index(s+after, after) < len(s) {
			return "", fmt.Errorf("the value of the claim %s has %q in it or before it, which ends the value in the label, so that another workload could have the same label; put another text there", part, after)
		}
		b.WriteString(s)
	}
	return b.String(), checkLabel(b.String())
}

// find returns the claim called name, or the one within others that the parts of name lead
// to.
func find(claims map[string]any, name string) (any, bool) {
	if value, ok := claims[name]; ok {
		return value, true
	}
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if inner, ok := claims[name[:i]].(map[string]any); ok {
			if value, ok := find(inner, name[i+1:]); ok {
				return value, true
			}
		}
	}
	return nil, false
}

// text returns the value of a claim that is a string, a number, true or false.
func text(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return fmt.Sprint(v), true
	}
	return "", false
}
