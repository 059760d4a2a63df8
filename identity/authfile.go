package identity

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/internal/strictjson"
)

// Mode is how Codex is logged in.
type Mode string

// The modes that auth.json knows, spelled as Codex writes them.
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

// Why an auth.json does not serve. Errors of [Home.Load], [Auth.Account] and
// [Auth.Bearer] wrap them.
var (
	ErrNoLogin     = errors.New("no ChatGPT log-in")
	ErrAPIKey      = errors.New("logged in with an API key")
	ErrNotChatGPT  = errors.New("logged in to something other than ChatGPT")
	ErrPlaceholder = errors.New("the log-in is one of agentproxy's placeholders")
)

const (
	remedyLogin  = "run codex login"
	maxAuthBytes = 1 << 20
)

// Tokens are what a log-in with ChatGPT left.
type Tokens struct {
	IDToken, AccessToken, RefreshToken Secret
	// AccountID is the workspace that the tokens are for, "" if only the claims say.
	AccountID string
	// Claims are those of IDToken, empty if there is none.
	Claims Claims
}

// Auth is a parsed auth.json. It is shared by all who loaded it and must not be
// changed.
type Auth struct {
	Mode      Mode
	HasAPIKey bool
	// PersonalAccessToken is an access token of a workspace, "" if there is none.
	PersonalAccessToken Secret
	Tokens              *Tokens // nil if there are none
	LastRefresh         time.Time
	Record              *Record // nil if there is none
	// RecordErr says why agent_identity was not understood. The tokens are good
	// all the same: what newer versions of Codex store there is theirs.
	RecordErr error
	// Path is the file, "" if it was not read from one.
	Path string

	// InKeyring says that it lies in the system keyring, not in a file.
	InKeyring bool
}

// FileError says what is wrong with a file and what to do about it, on one line
// and without showing what the file holds.
type FileError struct {
	Path   string
	Line   int // from 1, 0 if no line is to blame
	Reason string
	Remedy string
	// Err is the cause if the system reported one.
	Err error

	unfinished bool // may be a file that is being written
}

// Error returns "path:line: reason; remedy".
func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString(e.Path)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": " + e.Reason)
	if e.Remedy != "" {
		b.WriteString("; " + e.Remedy)
	}
	return b.String()
}

// Unwrap returns the system's error, nil if there is none.
func (e *FileError) Unwrap() error { return e.Err }

// ParseAuth parses an auth.json. Fields that it does not know are passed over;
// null and "" are as absent. Its errors are of type [*FileError].
func ParseAuth(raw []byte) (*Auth, error) { return parseAuth("", raw) }

func parseAuth(path string, raw []byte) (*Auth, error) {
	// Editors on Windows put a byte order mark there.
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	if len(raw) > maxAuthBytes {
		return nil, tooLarge(path)
	}
	var d strictjson.Decoder
	o := d.Document("", raw)
	a := &Auth{
		Mode:      Mode(o.Text("auth_mode")),
		HasAPIKey: o.Text("OPENAI_API_KEY") != "",

		PersonalAccessToken: Secret(o.Text("personal_access_token")),

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
		return nil, fileError(path, raw, d.Err)
	}
	if v := o.Get("agent_identity"); !v.Absent() && !(v.IsString() && v.Text() == "") {
		v, own := v.Detached() // its errors are not the file's
		if r, err := RecordFrom(v, own); err != nil {
			a.RecordErr = fileError(path, raw, err)
		} else {
			a.Record = r
		}
	}
	return a, nil
}

func parseTokens(o strictjson.Object) *Tokens {
	t := Tokens{
		IDToken:      Secret(o.Text("id_token")),
		AccessToken:  Secret(o.Text("access_token")),
		RefreshToken: Secret(o.Text("refresh_token")),
		AccountID:    o.Text("account_id"),
	}
	if t == (Tokens{}) {
		return nil
	}
	if t.IDToken != "" {
		claims, err := parseClaims(t.IDToken.Reveal())
		if err != nil {
			// Without its user the log-in could be taken for somebody else's.
			o.Get("id_token").Fail(err.Error())
		}
		t.Claims = claims
	}
	return &t
}

// fileError says where in raw err is.
func fileError(path string, raw []byte, err error) *FileError {
	e := &FileError{Path: authName(path), Reason: err.Error(), Remedy: remedyLogin}
	if at, ok := errors.AsType[*strictjson.Error](err); ok {
		e.unfinished = at.Syntax
		e.Line = 1 + bytes.Count(raw[:min(at.Offset, len(raw))], []byte("\n"))
		if len(raw) == 0 || at.Binary {
			e.Line = 0
		}
	}
	return e
}

func tooLarge(path string) *FileError {
	return &FileError{Path: authName(path), Reason: fmt.Sprintf("larger than %d MiB, not an auth.json", maxAuthBytes>>20), Remedy: remedyLogin}
}

// authName is how errors call the file.
func authName(path string) string {
	if path == "" {
		return "auth.json"
	}
	return path
}

// Account returns the account to act for: in forcedWorkspace if that is not "",
// else in the workspace logged in to. With mode agentIdentity and no tokens,
// the record stands for the log-in.
//
// Plan and FedRAMP are the log-in's, and stay empty for another workspace than
// the one logged in to. Errors wrap [ErrAPIKey] or [ErrNoLogin].
func (a *Auth) Account(forcedWorkspace string) (Account, error) {
	acct, err := a.login()
	if err != nil {
		return Account{}, err
	}
	if forcedWorkspace != "" && acct.WorkspaceID != forcedWorkspace {
		return Account{WorkspaceID: forcedWorkspace, UserID: acct.UserID, Email: acct.Email}, nil
	}
	if acct.WorkspaceID == "" {
		return Account{}, fmt.Errorf("%s: %w: it names no workspace; %s", authName(a.Path), ErrNoLogin, remedyLogin)
	}
	return acct, nil
}

// login returns the account that the file is logged in to. Its workspace is ""
// if nothing names one.
func (a *Auth) login() (Account, error) {
	switch path := authName(a.Path); a.Mode {
	case ModeAPIKey:
		return Account{}, fmt.Errorf("%s: %w; %s to use ChatGPT", path, ErrAPIKey, remedyLogin)
	case ModeBedrockAPIKey, ModeBedrockAccessKeys:
		return Account{}, fmt.Errorf("%s: %w: %s is Amazon Bedrock, where this proxy is not needed; %s to use ChatGPT", path, ErrNotChatGPT, a.Mode, remedyLogin)
	case ModeHeaders:
		return Account{}, fmt.Errorf("%s: %w: with headers another program adds the credential; %s to use ChatGPT", path, ErrNotChatGPT, remedyLogin)
	case ModePersonalAccessToken:
		if !IsWorkspaceToken(a.PersonalAccessToken) {
			return Account{}, fmt.Errorf("%s: %w: personal_access_token is no access token of a workspace, at-…; run codex login --with-access-token", path, ErrNoLogin)
		}
		if a.Tokens == nil {
			return Account{}, fmt.Errorf("%s: %w: whose the workspace's access token is, only ChatGPT can tell", path, ErrNoLogin)
		}
	}
	if t := a.Tokens; t != nil {
		acct := Account{t.AccountID, t.Claims.UserID, t.Claims.Email, t.Claims.PlanType, t.Claims.FedRAMP}
		if acct.WorkspaceID == "" {
			acct.WorkspaceID = t.Claims.AccountID
		}
		return acct, nil
	}
	if a.Mode == ModeAgentIdentity {
		if r := a.Record; r != nil {
			return Account{r.WorkspaceID, r.UserID, r.Email, r.PlanType, r.FedRAMP}, nil
		}
		if a.RecordErr != nil {
			return Account{}, a.RecordErr
		}
	}
	return Account{}, fmt.Errorf("%s: %w: it holds no tokens; %s", authName(a.Path), ErrNoLogin, remedyLogin)
}

// Bearer returns the access token and the account that it is for, whose
// workspace is "" if nothing names one. The token may have expired: see
// [TokenExpiry].
//
// A token is good for its own workspace only, so forcedWorkspace, if not "", must
// be that: else the error wraps [ErrOtherWorkspace]. Other errors wrap
// [ErrAPIKey], [ErrNoLogin] or [ErrPlaceholder], or are of type [*FileError].
func (a *Auth) Bearer(forcedWorkspace string) (Secret, Account, error) {
	acct, err := a.login()
	if err != nil {
		return "", Account{}, err
	}
	path := authName(a.Path)
	switch {
	case a.Tokens == nil || a.Tokens.AccessToken == "":
		err = fmt.Errorf("%s: %w: it holds no access token; %s", path, ErrNoLogin, remedyLogin)
	case IsPlaceholder(a.Tokens.AccessToken.Reveal()):
		err = fmt.Errorf("%s: %w; point agentproxy at the Codex home of a real log-in", path, ErrPlaceholder)
	case forcedWorkspace != "" && forcedWorkspace != acct.WorkspaceID:
		err = fmt.Errorf("%s: the access token %w: it is of %q, wanted is %q; %s into that workspace",
			path, ErrOtherWorkspace, acct.WorkspaceID, forcedWorkspace, remedyLogin)
	case !headerSafe(a.Tokens.AccessToken.Reveal()):
		err = &FileError{Path: path, Reason: "tokens.access_token: holds a space, a line break or other bytes that no header may carry", Remedy: remedyLogin}
	case !headerSafe(acct.WorkspaceID):
		err = &FileError{Path: path, Reason: "tokens.account_id: holds a space, a line break or other bytes that no header may carry", Remedy: remedyLogin}
	}
	if err != nil {
		return "", Account{}, err
	}
	return a.Tokens.AccessToken, acct, nil
}

// headerSafe reports whether s is visible ASCII throughout.
func headerSafe(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
