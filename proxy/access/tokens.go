package access

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/bcrypt"

	"github.com/agentproxy/agentproxy/internal/localguard"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// anyLabel is the label of a token that is good for every label.
const anyLabel = "*"

// Limits on the hashes of a tokens file, so that a wrong token costs a bounded
// time.
const (
	maxHashCost       = 14 // about a second
	maxHashesPerLabel = 8
	maxHashedToken    = 72 // bytes; bcrypt looks at no more
)

// tokenLine is a line of a tokens file.
type tokenLine struct {
	line  int
	label string
	token string // or its bcrypt hash
}

func (l tokenLine) hashed() bool { return strings.HasPrefix(l.token, "$2") }

var bcryptHash = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)

// lineError is a mistake in a line of a tokens file. It does not quote the line.
type lineError struct {
	line    int
	message string
}

// Error returns the number of the line and the mistake.
func (e *lineError) Error() string { return fmt.Sprintf("%d: %s", e.line, e.message) }

// parseTokens parses a tokens file: a line is LABEL:TOKEN or LABEL:HASH, blank, or a
// comment.
func parseTokens(raw []byte) ([]tokenLine, error) {
	var lines []tokenLine
	n := 0
	for text := range bytes.Lines(safefile.Text(raw)) {
		n++
		text = bytes.TrimSpace(text)
		if len(text) == 0 || text[0] == '#' {
			continue
		}
		label, token, ok := strings.Cut(string(text), ":")
		l := tokenLine{n, label, token}
		if !ok {
			return nil, &lineError{n, "there is no colon; a line is LABEL:TOKEN"}
		}
		if message := l.check(); message != "" {
			return nil, &lineError{n, message}
		}
		lines = append(lines, l)
	}
	return lines, nil
}

func (l tokenLine) check() string {
	switch {
	case l.label == "":
		return "there is no label before the colon; * stands for every label"
	case CheckLabel(l.label) != "":
		return "the label " + CheckLabel(l.label)
	case l.token == "":
		return "there is no token after the colon; write one there, such as the output of: openssl rand -hex 32"
	case !IsToken(l.token):
		return "the token must be one word of printable ASCII, because it is written in a URL"
	case !l.hashed():
		return ""
	}
	if !bcryptHash.MatchString(l.token) {
		return "a token that begins with $2 must be a bcrypt hash, and this is not one; make one with: htpasswd -nB LABEL"
	}
	switch cost, err := bcrypt.Cost([]byte(l.token)); {
	case err != nil:
		return "the bcrypt hash cannot be read; make one with: htpasswd -nB LABEL"
	case cost > maxHashCost:
		return fmt.Sprintf("the hash has cost %d, which takes too long to compare with; use one of at most %d", cost, maxHashCost)
	}
	return ""
}

// IsToken reports whether s can be a token: one word of printable ASCII.
func IsToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x21 || r > 0x7e })
}

// tokenTable is a tokens file made ready for comparisons.
type tokenTable struct {
	plain  []plainToken
	hashed []hashedToken
	// comparisons is the number of hashes that every wrong token is compared with, so that
	// the time does not reveal which labels there are. decoy stands in for missing ones.
	comparisons int
	decoy       []byte
}

type plainToken struct {
	label  string
	digest localguard.Digest
}

type hashedToken struct {
	label string
	hash  []byte
}

func newTokenTable(lines []tokenLine) (*tokenTable, error) {
	t := new(tokenTable)
	perLabel := make(map[string]int)
	highest := 0
	for _, l := range lines {
		if !l.hashed() {
			t.plain = append(t.plain, plainToken{l.label, localguard.DigestOf(l.token)})
			continue
		}
		h := hashedToken{l.label, []byte(l.token)}
		t.hashed = append(t.hashed, h)
		perLabel[l.label]++
		if cost, _ := bcrypt.Cost(h.hash); cost > highest {
			highest, t.decoy = cost, h.hash
		}
		most := 0
		for label, n := range perLabel {
			if label != anyLabel {
				most = max(most, n)
			}
		}
		if t.comparisons = most + perLabel[anyLabel]; t.comparisons > maxHashesPerLabel {
			return nil, &lineError{l.line, fmt.Sprintf("a label can have %d hashes, those of * included, and this is one more; remove one", maxHashesPerLabel)}
		}
	}
	return t, nil
}

// findPlain looks for a token that is not hashed by its digest. It returns the label of the
// session.
func (t *tokenTable) findPlain(user string, digest localguard.Digest) (label string, ok bool) {
	for _, p := range t.plain {
		equal := digest.Equal(p.digest)
		if equal && !ok && (user == "" || p.label == user || p.label == anyLabel) {
			label, ok = sessionLabel(user, p.label), true
		}
	}
	return label, ok
}

// findAgain looks for what a client was admitted by before. It returns the label that the
// session would have now.
func (t *tokenTable) findAgain(a *Admission) (label string, ok bool) {
	if label, ok := t.findPlain(a.user, a.digest); ok {
		return label, true
	}
	for _, h := range t.candidates(a.user) {
		if bytes.Equal(h.hash, a.hash) {
			return sessionLabel(a.user, h.label), true
		}
	}
	return "", false
}

// candidates returns the hashes that the token of user may have. A hash is found by its
// label alone, so without a user name it returns those for every label.
func (t *tokenTable) candidates(user string) []hashedToken {
	var found []hashedToken
	for _, h := range t.hashed {
		if h.label == user || h.label == anyLabel {
			found = append(found, h)
		}
	}
	return found
}

// sessionLabel returns the label of a session whose client gave a user name, perhaps "",
// and showed the token of an entry.
func sessionLabel(user, entry string) string {
	if user == "" && entry != anyLabel {
		return entry
	}
	return user
}
