package access

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/rs/zerolog"

	"github.com/agentproxy/agentproxy/internal/localguard"
)

// bcryptOf returns a hash that is as cheap as there is one.
func bcryptOf(t testing.TB, token string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(token), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

func writeTokens(t testing.TB, path string, lines ...string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func openTokens(t testing.TB, lines ...string) *TokenFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, lines...)
	f, err := OpenTokenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestTokenFile(t *testing.T) {
	t.Parallel()
	f := openTokens(t,
		"# comment", "",
		"build:plain:with:colons",
		"\tbuild:second\r",
		"*:anybody",
		"night:"+bcryptOf(t, "hashed"),
		"*:"+bcryptOf(t, "hashed-for-anybody"),
		"long:"+bcryptOf(t, strings.Repeat("x", maxHashedToken)),
	)
	for _, test := range []struct{ user, token, label string }{
		{"build", "plain:with:colons", "build"},
		{"build", "second", "build"},
		{"", "second", "build"}, // taken from the entry
		{"", "anybody", ""},
		{"whoever", "anybody", "whoever"},
		{"night", "hashed", "night"},
		{"night", "hashed-for-anybody", "night"},
		{"", "hashed-for-anybody", ""},
		{"whoever", "hashed-for-anybody", "whoever"},
		{"long", strings.Repeat("x", maxHashedToken), "long"},
	} {
		for range 2 { // a hash is only compared with the first time
			label, err := labelOf(t, f, test.user, test.token)
			if label != test.label || err != nil {
				t.Errorf("%q, %q: label %q, %v; want %q", test.user, test.token, label, err, test.label)
			}
		}
	}
	for _, test := range []struct{ user, token string }{
		{"build", ""}, {"", ""}, {"*", ""},
		{"build", "wrong"}, {"", "wrong"}, {"nobody", "wrong"},
		{"night", "second"}, {"nobody", "second"}, {"*", "second"}, // another's
		{"", "hashed"}, {"build", "hashed"}, {"*", "hashed"},
		{"long", strings.Repeat("x", maxHashedToken+1)}, // fits by its beginning
		{"night", bcryptHashLine(f, "night")},           // the hash is no token
		{"night", "hashed\x00hashed"},
		{"build", "second\n"},
	} {
		if label, err := labelOf(t, f, test.user, test.token); !errors.Is(err, errWrongToken) || label != "" {
			t.Errorf("%q, %q: label %q, %v; want %v", test.user, test.token, label, err, errWrongToken)
		}
	}
	for label, want := range map[string]string{"build": "plain:with:colons", "night": "anybody"} {
		if token, ok := f.Token(label); token != want || !ok {
			t.Errorf("Token(%q) = %q, %v", label, token, ok)
		}
	}
}

// requestOf returns a CONNECT of a client that shows a user name and a token.
func requestOf(user, token string) *http.Request {
	r := httptest.NewRequest(http.MethodConnect, "http://chatgpt.com:443", nil)
	r.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user+":"+token)))
	return r
}

// labelOf returns the label that a token is admitted with.
func labelOf(t testing.TB, f *TokenFile, user, token string) (label string, err error) {
	a := &Admission{user: user, digest: localguard.DigestOf(token)}
	err = f.admit(t.Context(), a, token)
	return a.Label, err
}

func bcryptHashLine(f *TokenFile, label string) string {
	for _, h := range f.table.Load().hashed {
		if h.label == label {
			return string(h.hash)
		}
	}
	return ""
}

// TestTokenFileMistakes names each mistake with its line, and shows no token.
func TestTokenFileMistakes(t *testing.T) {
	t.Parallel()
	hash := bcryptOf(t, "x")
	var many []string
	for range maxHashesPerLabel {
		many = append(many, "*:"+hash)
	}
	for _, test := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"empty", []string{""}, " has no token; write a line LABEL:TOKEN there, with a token such as the output of: openssl rand -hex 32"},
		{"no colon", []string{"# first", "sekret"}, ":2: there is no colon; a line is LABEL:TOKEN"},
		{"no label", []string{":sekret"}, ":1: there is no label before the colon; * stands for every label"},
		{"label", []string{"a b:sekret"}, ":1: the label has a character that is not printable ASCII; it is a short label for the session"},
		{"long label", []string{strings.Repeat("a", MaxLabel+1) + ":sekret"}, ":1: the label is longer than 128 bytes; it is a short label for the session"},
		{"no token", []string{"a:"}, ":1: there is no token after the colon; write one there, such as the output of: openssl rand -hex 32"},
		{"two words", []string{"a:sekret sekret"}, ":1: the token must be one word of printable ASCII, because it is written in a URL"},
		{"no hash", []string{"a:$2y$sekret"}, ":1: a token that begins with $2 must be a bcrypt hash, and this is not one; make one with: htpasswd -nB LABEL"},
		{"half a hash", []string{"a:" + hash[:59]}, ":1: a token that begins with $2 must be a bcrypt hash, and this is not one; make one with: htpasswd -nB LABEL"},
		{"bad cost", []string{"a:" + strings.Replace(hash, "$04$", "$03$", 1)}, ":1: the bcrypt hash cannot be read; make one with: htpasswd -nB LABEL"},
		{"high cost", []string{"a:" + strings.Replace(hash, "$04$", "$15$", 1)}, ":1: the hash has cost 15, which takes too long to compare with; use one of at most 14"},
		{"many hashes", append(many, "a:"+hash), ":9: a label can have 8 hashes, those of * included, and this is one more; remove one"},
		{"large", []string{strings.Repeat("#", maxTokenFile)}, " is larger than 1 MiB; a tokens file has a line for each client"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "tokens")
			writeTokens(t, path, test.lines...)
			_, err := OpenTokenFile(path)
			if err == nil || err.Error() != path+test.want {
				t.Errorf("error %v, want %s%s", err, path, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "sekret") {
				t.Error("the error shows a token")
			}
		})
	}
}

// TestTokenFileMode refuses a file that other users can read.
func TestTokenFileMode(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "tokens")
	writeTokens(t, path, "a:b")
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: true, 0o644: false, 0o604: false, 0o660: false, 0o602: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := OpenTokenFile(path)
		if ok && err != nil || !ok && (err == nil || !strings.HasSuffix(err.Error(), "; run: chmod 600 "+path)) {
			t.Errorf("%04o: %v", mode, err)
		}
	}
	if _, err := OpenTokenFile(os.DevNull); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("%s: %v", os.DevNull, err)
	}
}

// TestTokenFileChanges reads the file again when it changes. A file with a
// mistake changes nothing, and is warned of once.
func TestTokenFileChanges(t *testing.T) {
	t.Parallel()
	tokens := openTokens(t, "a:first", "b:"+bcryptOf(t, "hashed"))
	var mu sync.Mutex
	now := time.Now()
	tokens.now = func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	var logged bytes.Buffer
	clients := New(Config{Tokens: tokens}, zerolog.New(&logged))
	ask := func(user, token string, want int) {
		t.Helper()
		status := http.StatusOK
		if _, refused := clients.Admit(requestOf(user, token)); refused != nil {
			status = refused.Status
		}
		if status != want {
			t.Errorf("%s with %q: %d, want %d", user, token, status, want)
		}
	}
	later := func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(d)
	}
	ask("a", "first", 200)
	ask("b", "hashed", 200)

	writeTokens(t, tokens.path, "a:other")
	ask("a", "first", 200) // it was looked at less than a second ago
	later(tokenFileInterval)
	ask("a", "first", 407)
	ask("a", "other", 200)
	ask("b", "hashed", 407) // what is remembered of it does not let it in

	for range 3 {
		writeTokens(t, tokens.path, "a:third", "nonsense-sekret")
		later(time.Minute)
		ask("a", "other", 200)
		ask("a", "third", 407)
	}
	if err := os.Remove(tokens.path); err != nil {
		t.Fatal(err)
	}
	later(time.Minute)
	ask("a", "other", 200)

	writeTokens(t, tokens.path, "a:third")
	later(time.Minute)
	ask("a", "other", 407)
	ask("a", "third", 200)

	log := logged.String()
	if n := strings.Count(log, "cannot be used"); n != 2 { // the mistake, and that it was gone
		t.Errorf("%d warnings, want 2:\n%s", n, log)
	}
	if !strings.Contains(log, tokens.path+":2: there is no colon") || strings.Contains(log, "sekret") || !strings.Contains(log, "in order again") {
		t.Errorf("the log:\n%s", log)
	}
}

// TestTokensAfterMark reads a tokens file that an editor has put a byte order mark before.
func TestTokensAfterMark(t *testing.T) {
	t.Parallel()
	lines, err := parseTokens([]byte("\ufeffa:token\n"))
	if err != nil || len(lines) != 1 || lines[0].label != "a" {
		t.Errorf("%v, %v", lines, err)
	}
}
