// Package codex reads and writes Codex's own files.
//
// A [Home] is a Codex home directory. [Home.Load] returns the log-in in its auth.json, or
// in Codex's entry in the system's keyring, as an [Auth]. [Home.Update] edits the file as
// Codex would: under Codex's locks, at once, and with every field kept that the edit does
// not mean. A [Claim] keeps other programs from reading the file while its tokens are
// being refreshed, where the system can do that.
//
// A [Placeholder] is an auth.json for a client behind the proxy, without a secret.
package codex

import (
	"cmp"
	"fmt"
	"time"

	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// Mode is the way in which Codex is logged in.
type Mode string

// The modes, spelled as in auth.json.
const (
	ModeChatGPT             Mode = "chatgpt"
	ModeChatGPTAuthTokens   Mode = "chatgptAuthTokens" // the tokens of another program, which refreshes them
	ModeAgentIdentity       Mode = "agentIdentity"
	ModePersonalAccessToken Mode = "personalAccessToken" // an access token of a workspace
	ModeAPIKey              Mode = "apikey"
	ModeHeaders             Mode = "headers" // what another program adds to requests
	ModeBedrockAPIKey       Mode = "bedrockApiKey"
	ModeBedrockAccessKeys   Mode = "bedrockAccessKeys"
)

// maxAuthBytes bounds an auth.json.
const maxAuthBytes = 1 << 20

// Tokens are the tokens of a log-in with ChatGPT.
type Tokens struct {
	IDToken, AccessToken, RefreshToken identity.Secret
	// AccountID is the id of the tokens' workspace, "" if the claims alone have it.
	AccountID string
	// Claims are the claims of IDToken, empty if there is none.
	Claims identity.Claims
}

// Auth is a parsed auth.json. Callers share it and must not change it.
type Auth struct {
	Mode      Mode
	HasAPIKey bool
	// PersonalAccessToken is an access token of a workspace, "" if there is none.
	PersonalAccessToken identity.Secret
	Tokens              *Tokens // nil if there are none
	LastRefresh         time.Time
	Record              *identity.Record // nil if there is none
	// RecordErr says why agent_identity was not understood. The tokens are good all the
	// same, for newer versions of Codex may store another form.
	RecordErr error
	// Own says that it is agentproxy's own, and none of Codex's.
	Own bool
	// Path is the file, "" if it was not read from one.
	Path string

	// InKeyring says that it is from the system's keyring, and not from a file.
	InKeyring bool
}

// ParseAuth parses an auth.json. It ignores unknown fields, and takes null and "" as
// absent. Its errors are of type [*identity.FileError].
func ParseAuth(raw []byte) (*Auth, error) { return parseAuth("", raw) }

func parseAuth(path string, raw []byte) (*Auth, error) {
	// Editors on Windows put a byte order mark there.
	raw = safefile.Text(raw)
	if len(raw) > maxAuthBytes {
		return nil, tooLarge(path)
	}
	var d strictjson.Decoder
	o := d.Document("", raw)
	a := &Auth{
		Mode:      Mode(o.Text("auth_mode")),
		HasAPIKey: o.Text("OPENAI_API_KEY") != "",

		PersonalAccessToken: identity.Secret(o.Text("personal_access_token")),

		Tokens:      parseTokens(o.Object("tokens")),
		LastRefresh: o.Time("last_refresh"),
		Path:        path,
	}
	switch a.Mode {
	case ModeChatGPT, ModeChatGPTAuthTokens, ModeAgentIdentity, ModePersonalAccessToken, ModeAPIKey, ModeHeaders, ModeBedrockAPIKey, ModeBedrockAccessKeys:
	case "":
		a.Mode = ModeChatGPT
		if a.PersonalAccessToken != "" {
			a.Mode = ModePersonalAccessToken
		} else if a.HasAPIKey {
			a.Mode = ModeAPIKey
		}
	default:
		o.Get("auth_mode").Fail(fmt.Sprintf("%.40q is not a mode that agentproxy knows", a.Mode))
	}
	if d.Err != nil {
		return nil, identity.NewFileError(fileName(path), raw, d.Err, identity.RemedyLogin)
	}
	if v := o.Get("agent_identity"); !v.Absent() && !(v.IsString() && v.Text() == "") {
		v, own := v.Detached() // its errors are not the file's
		if r, err := identity.RecordFrom(v, own); err != nil {
			a.RecordErr = identity.NewFileError(fileName(path), raw, err, identity.RemedyLogin)
		} else {
			a.Record = r
		}
	}
	return a, nil
}

func parseTokens(o strictjson.Object) *Tokens {
	t := Tokens{
		IDToken:      identity.Secret(o.Text("id_token")),
		AccessToken:  identity.Secret(o.Text("access_token")),
		RefreshToken: identity.Secret(o.Text("refresh_token")),
		AccountID:    o.Text("account_id"),
	}
	if t == (Tokens{}) {
		return nil
	}
	if t.IDToken != "" {
		claims, err := identity.ParseClaims(t.IDToken.Reveal())
		if err != nil {
			// Without its user the log-in could be taken for somebody else's.
			o.Get("id_token").Fail(err.Error())
		}
		t.Claims = claims
	}
	return &t
}

func tooLarge(path string) *identity.FileError {
	return &identity.FileError{Path: fileName(path), Reason: fmt.Sprintf("larger than %d MiB, not an auth.json", maxAuthBytes>>20), Remedy: identity.RemedyLogin}
}

// Name returns the name of the log-in for errors: the path of its file, or "auth.json" if
// it is from none.
func (a *Auth) Name() string { return fileName(a.Path) }

func fileName(path string) string {
	if path == "" {
		return "auth.json"
	}
	return path
}

// Account returns the account to act for. Its workspace is forcedWorkspace, or the one
// that is logged in to if that is "". In mode agentIdentity without tokens the account is
// that of the record.
//
// Plan and FedRAMP belong to the workspace that is logged in to. They stay empty for
// another. Errors wrap [identity.ErrAPIKey] or [identity.ErrNoLogin].
func (a *Auth) Account(forcedWorkspace string) (identity.Account, error) {
	acct, err := a.login()
	if err != nil {
		return identity.Account{}, err
	}
	if forcedWorkspace != "" && acct.WorkspaceID != forcedWorkspace {
		return identity.Account{WorkspaceID: forcedWorkspace, UserID: acct.UserID, Email: acct.Email}, nil
	}
	if acct.WorkspaceID == "" {
		return identity.Account{}, fmt.Errorf("%s: %w: it names no workspace; %s", a.Name(), identity.ErrNoLogin, a.Remedy())
	}
	return acct, nil
}

// login returns the account that is logged in. Its workspace is "" if nothing names
// one.
func (a *Auth) login() (identity.Account, error) {
	switch path := a.Name(); a.Mode {
	case ModeAPIKey:
		return identity.Account{}, fmt.Errorf("%s: %w; %s to use ChatGPT", path, identity.ErrAPIKey, a.Remedy())
	case ModeBedrockAPIKey, ModeBedrockAccessKeys:
		return identity.Account{}, fmt.Errorf("%s: %w: %s is Amazon Bedrock, where this proxy is not needed; %s to use ChatGPT", path, identity.ErrNotChatGPT, a.Mode, a.Remedy())
	case ModeHeaders:
		return identity.Account{}, fmt.Errorf("%s: %w: with headers another program adds the credential; %s to use ChatGPT", path, identity.ErrNotChatGPT, a.Remedy())
	case ModePersonalAccessToken:
		if !identity.IsWorkspaceToken(a.PersonalAccessToken) {
			return identity.Account{}, fmt.Errorf("%s: %w: personal_access_token is no access token of a workspace, at-…; run codex login --with-access-token", path, identity.ErrNoLogin)
		}
		if a.Tokens == nil {
			return identity.Account{}, fmt.Errorf("%s: %w: whose the workspace's access token is, only ChatGPT can tell", path, identity.ErrNoLogin)
		}
	}
	if t := a.Tokens; t != nil {
		account := t.Claims.Account
		account.WorkspaceID = cmp.Or(t.AccountID, account.WorkspaceID)
		return account, nil
	}
	if a.Mode == ModeAgentIdentity {
		if r := a.Record; r != nil {
			return r.Account(), nil
		}
		if a.RecordErr != nil {
			return identity.Account{}, a.RecordErr
		}
	}
	return identity.Account{}, fmt.Errorf("%s: %w: it holds no tokens; %s", a.Name(), identity.ErrNoLogin, a.Remedy())
}

// Remedy returns what to do if the log-in does not serve.
func (a *Auth) Remedy() string { return remedyLogin(a.Own) }

func remedyLogin(own bool) string {
	if own {
		return "run agentproxy login"
	}
	return identity.RemedyLogin
}

// Bearer returns the access token and its account. The workspace of the account is "" if
// nothing names one. The token may have expired: see [identity.TokenExpiry].
//
// A token is good for its own workspace only. If forcedWorkspace is another, and not "",
// the error wraps [identity.ErrOtherWorkspace]. Other errors wrap [identity.ErrAPIKey],
// [identity.ErrNoLogin] or [identity.ErrPlaceholder], or are of type
// [*identity.FileError].
func (a *Auth) Bearer(forcedWorkspace string) (identity.Secret, identity.Account, error) {
	acct, err := a.login()
	if err != nil {
		return "", identity.Account{}, err
	}
	path := a.Name()
	switch {
	case a.Tokens == nil || a.Tokens.AccessToken == "":
		err = fmt.Errorf("%s: %w: it holds no access token; %s", path, identity.ErrNoLogin, a.Remedy())
	case identity.IsPlaceholder(a.Tokens.AccessToken.Reveal()):
		err = fmt.Errorf("%s: %w; point agentproxy at the Codex home of a real log-in", path, identity.ErrPlaceholder)
	case forcedWorkspace != "" && forcedWorkspace != acct.WorkspaceID:
		err = fmt.Errorf("%s: the access token %w: it is of %q, wanted is %q; %s into that workspace",
			path, identity.ErrOtherWorkspace, acct.WorkspaceID, forcedWorkspace, a.Remedy())
	case !identity.HeaderSafe(a.Tokens.AccessToken.Reveal()):
		err = &identity.FileError{Path: path, Reason: "tokens.access_token: holds a space, a line break or other bytes that no header may carry", Remedy: a.Remedy()}
	case !identity.HeaderSafe(acct.WorkspaceID):
		err = &identity.FileError{Path: path, Reason: "tokens.account_id: holds a space, a line break or other bytes that no header may carry", Remedy: a.Remedy()}
	}
	if err != nil {
		return "", identity.Account{}, err
	}
	return a.Tokens.AccessToken, acct, nil
}

// Format implements [fmt.Formatter] without showing a secret.
func (t Tokens) Format(f fmt.State, verb rune) {
	type plain Tokens
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(t))
}

// Format implements [fmt.Formatter] without showing a secret.
func (a Auth) Format(f fmt.State, verb rune) {
	type plain Auth
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(a))
}
