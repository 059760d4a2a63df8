package access

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/proxy/access/issued"
)

// TestIssuedTokens shows tokens that end, each where other grounds are asked for.
func TestIssuedTokens(t *testing.T) {
	t.Parallel()
	at := time.Now()
	now := func() time.Time { return at }
	open := func(dir string) *issued.Tokens { return issued.Open(dir, now, func(err error) { t.Error(err) }) }
	dir := t.TempDir()
	commands := open(dir)
	issue := func(from *issued.Tokens, label string, ttl time.Duration) (string, *issued.Token) {
		t.Helper()
		s, token, err := from.Issue(t.Context(), label, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return s, token
	}
	good, _ := issue(commands, "build-42", time.Hour)
	other, _ := issue(commands, "build-43", time.Hour)
	expired, _ := issue(commands, "build-42", time.Minute)
	revoked, token := issue(commands, "build-42", time.Hour)
	foreign, _ := issue(open(t.TempDir()), "build-42", time.Hour)
	if err := commands.RevokeToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	at = at.Add(10 * time.Minute)

	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, "ci:s3cret\n*:any\n")
	file, err := OpenTokenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	grounds := map[string]Config{
		"only":   {IssuedOnly: true},
		"file":   {Tokens: file},
		"token":  {Token: "s3cret"},
		"nobody": {Users: Users{}},
		"all":    {}, // of a listener that nobody else reaches
		"off":    {Token: "s3cret"},
		"label":  {Token: "s3cret", Label: "everybody"},
	}
	for name, config := range grounds {
		if name != "off" {
			config.Issued = open(dir)
		}
		for _, test := range []struct {
			user, token string
			label       string // "": not let in
			says        string
		}{
			{"build-42", good, "build-42", ""},
			{"", good, "build-42", ""},
			{"build-43", good, "", "another session label"},
			{"", other, "build-43", ""},
			{"build-42", expired, "", "expired; have another issued"},
			{"build-42", revoked, "", "revoked; have another issued"},
			{"build-42", foreign, "", "requires a token"},
			{"build-42", good[:len(good)-3], "", "requires a token"},
			{"build-42", "", "", "requires a token"},
		} {
			a, refused := New(config, zerolog.Nop()).Admit(requestOf(test.user, test.token))
			want, says := test.label, test.says
			switch {
			case name == "off":
				want, says = "", "requires a token"
			case name == "label" && want != "":
				want = "everybody"
			case name == "nobody" && says == "requires a token":
				says = "" // it says whose the process is
			case name == "all" && says == "requires a token":
				want = test.user
			}
			if want == "" && (refused == nil || !strings.Contains(refused.Message, says)) || want != "" && (a == nil || a.Label != want) {
				t.Errorf("%s: %s with %.20s…: %+v, %+v; want %q %q", name, test.user, test.token, a, refused, want, says)
			}
		}
		_, refused := New(config, zerolog.Nop()).Admit(requestOf("ci", "s3cret"))
		if in := name != "only" && name != "nobody"; in != (refused == nil) {
			t.Errorf("%s: another token: %+v", name, refused)
		}
	}
}

// TestIssuedTokenEnds: what a token let in on an open connection ends with it.
func TestIssuedTokenEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*issued.Tokens, *issued.Token) error{
		"expired": func(*issued.Tokens, *issued.Token) error { return nil },
		"revoked": func(commands *issued.Tokens, token *issued.Token) error {
			return commands.RevokeToken(t.Context(), token)
		},
		"all revoked": func(commands *issued.Tokens, token *issued.Token) error { return commands.RevokeAll(t.Context()) },
	} {
		at := time.Now()
		now := func() time.Time { return at }
		dir := t.TempDir()
		commands := issued.Open(dir, now, func(err error) { t.Error(err) })
		s, token, err := commands.Issue(t.Context(), "a", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		clients := New(Config{Issued: issued.Open(dir, now, func(err error) { t.Error(err) }), IssuedOnly: true}, zerolog.Nop())
		a, refused := clients.Admit(requestOf("a", s))
		if refused != nil {
			t.Fatalf("%+v", refused)
		}
		kept := &KeptAdmission{Admission: a}
		for range 2 {
			if refused := kept.Check(clients); refused != nil {
				t.Errorf("%s: before: %+v", name, refused)
			}
		}
		if err := end(commands, token); err != nil {
			t.Fatal(err)
		}
		at = at.Add(2 * time.Second)
		if name == "expired" {
			at = at.Add(time.Hour)
		}
		if refused := kept.Check(clients); refused == nil || refused.Code != "no_longer_admitted" {
			t.Errorf("%s: %+v", name, refused)
		}
		// Nor does a configuration that does not know it let it go on.
		if refused := kept.Check(New(Config{Token: "x"}, zerolog.Nop())); refused == nil {
			t.Errorf("%s: let in by another configuration", name)
		}
	}
}

// TestIssuedTokensUnread: whoever shows a token that cannot be checked is not told to get
// another.
func TestIssuedTokensUnread(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _, err := issued.Open(dir, time.Now, func(error) {}).Issue(t.Context(), "a", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "revoked.json"), []byte("["), 0o600); err != nil {
		t.Fatal(err)
	}
	_, refused := New(Config{Issued: issued.Open(dir, time.Now, func(error) {})}, zerolog.Nop()).Admit(requestOf("a", s))
	if refused == nil || strings.Contains(refused.Message, "have another") || !strings.HasSuffix(refused.Message, "agentproxy check says why, where the proxy runs") {
		t.Errorf("%+v", refused)
	}
}
