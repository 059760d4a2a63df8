package signer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/identity"
)

// badTokens are what must not be sent as a token, with what is said of it.
func badTokens(t *testing.T) map[string]struct{ token, want string } {
	return map[string]struct{ token, want string }{
		"placeholder":     {placeholderToken(t), "it is agentproxy's own placeholder; a credential is needed"},
		"mark":            {"agentproxy-placeholder", "it is agentproxy's own placeholder"},
		"two lines":       {"sekret-1\nsekret-2", "it must be one line of ASCII"},
		"header":          {"sekret-1\r\nX-Evil: 1", "it has spaces; it must be a token alone"},
		"carriage":        {"sekret-1\rsekret-2", "it must be one line of ASCII"},
		"control":         {"sekret-1\x00", "it must be one line of ASCII"},
		"binary":          {"sekret-1\xff\xfe", "it must be one line of ASCII"},
		"not ASCII":       {"sekret-1é", "it must be one line of ASCII"},
		"scheme in front": {"Bearer sekret-1", "without Bearer before it"},
		"oversized":       {strings.Repeat("sekret-1", maxTokenSize/8) + "x", "more than 65536 bytes"},
	}
}

func TestTokenFromEnv(t *testing.T) {
	t.Parallel()
	value, set := "sekret-1\n", true
	s := NewTokenFromEnv("MY_TOKEN", func(name string) (string, bool) {
		if name != "MY_TOKEN" {
			t.Errorf("%s was looked up", name)
		}
		return value, set
	}, nil)
	first := mustSign(t, s, Request{})
	if want := (Authorization{Value: "Bearer sekret-1", Scheme: SchemeBearer, Signer: "token"}); *first != want {
		t.Errorf("Sign = %+v, want %+v", first, want)
	}
	if again := mustSign(t, s, Request{}); again != first {
		t.Error("the header of the same token was made twice")
	}
	const unset = "environment variable MY_TOKEN is not set; set it to the token, or name another with signer.token_env"
	value = " \n"
	wantRefusal(t, s, TokenMissing, unset)
	value, set = "", false
	wantRefusal(t, s, TokenMissing, unset)
	set = true
	for name, bad := range badTokens(t) {
		t.Run(name, func(t *testing.T) {
			value = bad.token
			wantRefusal(t, s, TokenMissing, bad.want, "sekret", bad.token)
			wantRefusal(t, s, TokenMissing, "environment variable MY_TOKEN: ")
		})
	}
}

func TestTokenFromFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "token")
	s := NewTokenFromFile(path, nil)
	wantRefusal(t, s, TokenMissing, path+": there is no such file; write the token there, or change signer.token_file")

	write(t, path, "sekret-1\n")
	first := mustSign(t, s, Request{})
	if first.Value != "Bearer sekret-1" {
		t.Errorf("Sign = %q", first.Value.Reveal())
	}
	if again := mustSign(t, s, Request{}); again != first {
		t.Error("the header of the same token was made twice")
	}

	// A change counts at once, even one that size and time do not show.
	write(t, path, "sekret-2\n")
	if err := os.Chtimes(path, start, start); err != nil {
		t.Fatal(err)
	}
	if next := mustSign(t, s, Request{}); next.Value != "Bearer sekret-2" {
		t.Errorf("Sign = %q after the file changed", next.Value.Reveal())
	}
	write(t, path, "sekret-3\n")
	if err := os.Chtimes(path, start, start); err != nil {
		t.Fatal(err)
	}
	if next := mustSign(t, s, Request{}); next.Value != "Bearer sekret-3" {
		t.Errorf("Sign = %q after a change that keeps size and time", next.Value.Reveal())
	}

	write(t, path, " \n")
	wantRefusal(t, s, TokenMissing, path+": the file is empty; write the token there")
	for name, bad := range badTokens(t) {
		t.Run(name, func(t *testing.T) {
			write(t, path, bad.token)
			wantRefusal(t, s, TokenMissing, bad.want, "sekret", bad.token)
			wantRefusal(t, s, TokenMissing, path+": ")
		})
	}
	write(t, path, "sekret-4")
	if next := mustSign(t, s, Request{}); next.Value != "Bearer sekret-4" {
		t.Errorf("Sign = %q after the file was put right", next.Value.Reveal())
	}

	directory := NewTokenFromFile(filepath.Dir(path), nil)
	wantRefusal(t, directory, TokenMissing, filepath.Dir(path)+": not a regular file; make it a file that agentproxy can read")
}

// TestTokenFileKinds refuses a file that would have to be waited for, that has no end,
// or that others can read.
func TestTokenFileKinds(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there are neither pipes nor modes in directories")
	}
	dir := t.TempDir()
	wide := filepath.Join(dir, "wide")
	write(t, wide, "sekret")
	if err := errors.Join(os.Chmod(wide, 0o644), exec.Command("mkfifo", "-m", "600", filepath.Join(dir, "pipe")).Run()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "pipe"): "not a regular file",
		"/dev/zero":                "not a regular file",
		wide:                       "permissions 0644 are too wide; run: chmod 600 " + wide,
	} {
		wantRefusal(t, NewTokenFromFile(path, nil), TokenMissing, path+": "+want, "sekret")
	}
	if err := os.Chmod(wide, 0o640); err != nil {
		t.Fatal(err)
	}
	if auth := mustSign(t, NewTokenFromFile(wide, nil), Request{}); auth.Value != "Bearer sekret" {
		t.Errorf("Sign = %q", auth.Value.Reveal())
	}
}

// An access token of ChatGPT says itself which account it is for.
func TestTokenNamesItsAccount(t *testing.T) {
	t.Parallel()
	token := jwt(t, map[string]any{
		"exp":                         start.Add(time.Hour).Unix(),
		"https://api.openai.com/auth": map[string]any{"chatgpt_account_id": "ws-9", "chatgpt_account_is_fedramp": true},
	})
	s := NewTokenFromEnv("T", func(string) (string, bool) { return token, true }, nil)
	want := Authorization{Value: identity.Secret("Bearer " + token), Scheme: SchemeBearer, AccountID: "ws-9", FedRAMP: true, Signer: "token"}
	if got := mustSign(t, s, Request{}); *got != want {
		t.Errorf("Sign = %+v, want %+v", got, want)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// accounts knows one token.
type accounts struct {
	token identity.Secret
	asked int
	err   error
}

func (a *accounts) TokenAccount(_ context.Context, token identity.Secret) (identity.Account, error) {
	a.asked++
	if a.err == nil && token != a.token {
		return identity.Account{}, errors.New("another token")
	}
	return identity.Account{WorkspaceID: "account-1", FedRAMP: true}, a.err
}

// TestWorkspaceToken goes with the account that it is for, which others know.
func TestWorkspaceToken(t *testing.T) {
	t.Parallel()
	known := &accounts{token: "at-secret"}
	value := "at-secret\n"
	s := NewTokenFromEnv("T", func(string) (string, bool) { return value, true }, known)
	for range 3 {
		if auth := mustSign(t, s, Request{}); auth.Value != "Bearer at-secret" || auth.AccountID != "account-1" || !auth.FedRAMP {
			t.Errorf("signed %+v", auth)
		}
	}
	if known.asked != 1 {
		t.Errorf("asked %d times", known.asked)
	}
	value = "opaque" // which is nobody's to tell of
	if auth := mustSign(t, s, Request{}); auth.Value != "Bearer opaque" || auth.AccountID != "" || known.asked != 1 {
		t.Errorf("signed %+v after %d questions", auth, known.asked)
	}
	value, known.err = "at-secret", fmt.Errorf("%w: revoked", identity.ErrNoLogin)
	if _, err := s.Sign(t.Context(), Request{}); CodeOf(err) != NoLogin || !strings.Contains(err.Error(), "environment variable T: ") || strings.Contains(err.Error(), "at-secret") {
		t.Errorf("error %v", err)
	}

	p := newPrinter(t, "at-secret")
	known.err = nil
	if auth := mustSign(t, NewCommand(p.argv(), newClock().now, known), Request{}); auth.AccountID != "account-1" {
		t.Errorf("signed %+v", auth)
	}
}
