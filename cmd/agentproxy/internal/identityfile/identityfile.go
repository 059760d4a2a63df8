// Package identityfile reads agent identities from files that users name, and writes them
// where Codex finds them.
package identityfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/app"
	"github.com/agentproxy/agentproxy/identity"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// maxIdentityInput bounds what import reads, in bytes.
const maxIdentityInput = 1 << 20

// Read reads the agent identity in the file of a name, or in stdin if that is "-": a JWT, a
// JSON record, or the one in an auth.json.
func Read(name string, stdin io.Reader) (*identity.Record, error) {
	raw, err := readInput(name, stdin)
	if err != nil {
		return nil, err
	}
	return parse(name, raw)
}

func readInput(name string, from io.Reader) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; name a file that can be read, or - for standard input", name, safefile.Cause(err))
		}
		defer f.Close()
		from = f
	}
	raw, err := io.ReadAll(io.LimitReader(from, maxIdentityInput+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w; name a file that can be read, or - for standard input", name, safefile.Cause(err))
	}
	if len(raw) > maxIdentityInput {
		return nil, fmt.Errorf("%s: larger than %d bytes, not an agent identity", name, maxIdentityInput)
	}
	return raw, nil
}

// parse parses a record, or the one in an auth.json.
func parse(name string, raw []byte) (*identity.Record, error) {
	record, err := identity.ParseRecord(raw)
	if err == nil {
		return record, nil
	}
	auth, authErr := codex.ParseAuth(raw)
	if authErr != nil || auth.Record == nil && auth.RecordErr == nil && auth.Tokens == nil {
		return nil, fmt.Errorf("%s: neither a JWT, nor a record of an agent identity, nor an auth.json: %w", name, err)
	}
	if auth.RecordErr != nil {
		return nil, fmt.Errorf("%s: %w", name, auth.RecordErr)
	}
	if auth.Record == nil {
		return nil, fmt.Errorf("%s: this auth.json holds no agent identity", name)
	}
	return auth.Record, nil
}

// Import stores record if it belongs to the log-in. name is that of its file.
func Import(ctx context.Context, a *app.App, name string, record *identity.Record) (*identity.Identity, error) {
	account, err := a.Default.Account.Agent.Account(ctx)
	if errors.Is(err, identity.ErrNoLogin) {
		account = record.Account()
	} else if err != nil {
		return nil, err
	}
	id, err := record.Bind(account)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := a.Default.Account.Backend.VerifyJWT(ctx, record); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return id, a.Default.Account.Agent.Keep(record)
}

// ExportToCodex writes record into Codex's auth.json, if the user agrees to the warning that
// confirm is given.
func ExportToCodex(ctx context.Context, a *app.App, record *identity.Record, shape identity.Shape, confirm func(warning string) bool) error {
	if a.Default.Account.UsesOwnLogin() {
		return errors.New("the log-in is that of agentproxy login, which Codex does not share; set identity.login: codex to write into the auth.json of Codex's")
	}
	raw, err := record.MarshalFor(shape)
	if err != nil {
		return err
	}
	warning := fmt.Sprintf("%s would refuse %s with an identity of shape %s in it, and be logged out", shape.Refusers(), a.Default.Account.Home.Path(), shape)
	if !confirm(warning) {
		return errors.New("nothing was written; answer y, or give --yes")
	}
	return a.Default.Account.Home.WriteIdentity(ctx, raw)
}
