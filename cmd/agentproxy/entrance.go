package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// entrance says who is let in at a listener: whoever shows the token, or one of
// the tokens, or else the users; nil are all users.
type entrance struct {
	token  string
	tokens *access.TokenFile
	users  access.Users
	label  string // that all clients have, "" for the one that they show
}

// free reports whether nothing has to be shown.
func (e entrance) free() bool { return e.token == "" && e.tokens == nil }

// tokenFor returns what a client shows that calls itself label, or "".
func (e entrance) tokenFor(label string) (string, error) {
	if e.tokens == nil {
		return e.token, nil
	}
	token, ok := e.tokens.Token(label)
	if !ok {
		return "", cli.Usagef("clients.tokens_file has no token for the label %s that could be printed; name another with --label, or put a token, not its hash, there", label)
	}
	return token, nil
}

// keepTokens has e go on with the tokens file of former if it is the same, with
// what that remembers.
func (e *entrance) keepTokens(former entrance) error {
	if e.tokens == nil || former.tokens == nil || e.tokens.Path() != former.tokens.Path() {
		return nil
	}
	e.tokens = former.tokens
	return e.tokens.Reread()
}

// ownUser returns the user that this program runs as, where the system can tell
// whose a connection is.
func ownUser() access.Users {
	if runtime.GOOS != "linux" {
		return nil
	}
	return access.Users{uint32(os.Geteuid())}
}

func (c *config) validateClients(cli.Environment) (key string, err error) {
	if key, err := atMostOne(
		variable{"clients.token", c.Clients.Token},
		variable{"clients.token_file", c.Clients.TokenFile},
		variable{"clients.tokens_file", c.Clients.TokensFile},
	); err != nil {
		return key, err
	}
	if c.entrance.token, key, err = c.readToken("clients.token", c.Clients.Token, c.Clients.TokenFile, "a URL"); err != nil {
		return key, err
	}
	if c.Clients.TokensFile != "" {
		if c.entrance.tokens, err = access.OpenTokenFile(c.Clients.TokensFile); err != nil {
			return "clients.tokens_file", err
		}
		_, _ = c.read(c.Clients.TokensFile) // for whoever watches what is read
	}
	network, address, err := listenAddress(c.Listen)
	if err != nil {
		return "listen", err
	}
	free := network == "tcp" && c.entrance.free()
	if free && !isLoopback(address) {
		return "listen", fmt.Errorf("%s can be reached from other machines, who could then act as you; set clients.token, or listen on 127.0.0.1", c.Listen)
	}
	if free {
		c.entrance.users = ownUser()
	}
	for i, uid := range c.Clients.AllowUIDs {
		if uid < 0 || uid >= math.MaxUint32 {
			return fmt.Sprintf("clients.allow_uids[%d]", i), fmt.Errorf("%d is not the number of a user; id -u NAME prints it", uid)
		}
		if c.entrance.users == nil {
			return "clients.allow_uids", errors.New("it is only used where clients connect over loopback without a token, on Linux; leave it out")
		}
		c.entrance.users = append(c.entrance.users, uint32(uid))
	}
	return "", nil
}

func (c *config) validateAdmin(cli.Environment) (key string, err error) {
	if key, err := atMostOne(variable{"admin_token", c.AdminToken}, variable{"admin_token_file", c.AdminTokenFile}); err != nil {
		return key, err
	}
	if c.adminEntrance.token, key, err = c.readToken("admin_token", c.AdminToken, c.AdminTokenFile, "a header"); err != nil {
		return key, err
	}
	if c.Admin == "" {
		return "", nil
	}
	network, address, err := listenAddress(c.Admin)
	if err != nil {
		return "admin", err
	}
	if network == "tcp" && c.adminEntrance.free() {
		if !isLoopback(address) {
			return "admin", fmt.Errorf("%s can be reached from other machines; set admin_token, or use a loopback address or unix:/path", c.Admin)
		}
		c.adminEntrance.users = ownUser()
	}
	return "", nil
}

// atMostOne returns the second of the keys that are set.
func atMostOne(keys ...variable) (key string, err error) {
	first := ""
	for _, k := range keys {
		switch {
		case k.value == "":
		case first != "":
			return k.name, fmt.Errorf("%s is set too; keep one of them", first)
		default:
			first = k.name
		}
	}
	return "", nil
}

// readToken returns the token that is set at key, or is in the file that is
// named at key_file. It has to stand in place, such as a URL.
func (c *config) readToken(key, token, file, place string) (read, wrongKey string, err error) {
	if file != "" {
		key += "_file"
		raw, err := c.read(file)
		if err != nil {
			return "", key, fmt.Errorf("%s: %w; write a token there, such as the output of: openssl rand -hex 32", file, cli.Cause(err))
		}
		if err := safefile.CheckPath(file, safefile.BeyondGroup); err != nil {
			return "", key, fmt.Errorf("%s: %w", file, err)
		}
		if token = strings.TrimSpace(string(raw)); token == "" {
			return "", key, fmt.Errorf("%s is empty; write a token there, such as the output of: openssl rand -hex 32", file)
		}
	}
	if token != "" && !access.IsToken(token) {
		return "", key, fmt.Errorf("a token is one word of printable ASCII, as it has to stand in %s", place)
	}
	return token, "", nil
}
