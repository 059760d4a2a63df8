package config

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/agentproxy/agentproxy/authz"
	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/proxy/access"
)

// Access says where a listener is and who may use it.
type Access struct {
	Listen     string // "host:port" or "unix:/path", "" for none
	Token      string // that clients show, "" for none
	TokenFile  string // that holds the token, "" for none
	TokensFile string // that holds a token for each label, "" for none
	// OwnUser is whether only processes of this program's user are let in, and of
	// further users in UIDs.
	OwnUser bool
	UIDs    []uint32
	// IssuedDir is where the key of the tokens is that let in besides, "" if none do.
	// IssuedOnly is whether nothing else does.
	// IssuedKey is a file with the key instead, and IssuedRevoked one with the list of those
	// that were revoked, "" for none.
	IssuedDir     string
	IssuedKey     string
	IssuedRevoked string
	IssuedOnly    bool
}

// The values of clients.issued.
const (
	IssuedAlso = "also"
	IssuedOnly = "only"
	IssuedOff  = "off"
)

// IssuedDir returns where the key of the tokens of agentproxy token issue is kept.
func IssuedDir(stateDir string) string { return filepath.Join(stateDir, "client-tokens") }

// NeedsToken reports whether clients have to show a token.
func (a Access) NeedsToken() bool {
	return a.Token != "" || a.TokenFile != "" || a.TokensFile != "" || a.IssuedOnly
}

// knowsUsers is whether the system tells whose process a loopback connection is of.
const knowsUsers = runtime.GOOS == "linux"

// check checks the address and the tokens of an access, whose keys are named, and sets
// OwnUser. The tokens must be ones that can stand in place. It reports whether clients connect
// over TCP without a token, and whether only this machine reaches the listener.
func (a *Access) check(listenKey, tokenKey, place string) (free, loopback bool, err error) {
	var m mistakes
	m.add(atMostOne(tokenKey, a.Token, tokenKey+"_file", a.TokenFile, "clients.tokens_file", a.TokensFile))
	if a.Token != "" {
		m.add(at(tokenKey, CheckToken(a.Token, place)))
	}
	if a.Listen == "" {
		return false, false, m.err()
	}
	network, address, err := ParseAddress(a.Listen)
	m.add(at(listenKey, err))
	free = network == "tcp" && !a.NeedsToken()
	a.OwnUser = free && knowsUsers
	return free, isLoopback(address), m.err()
}

func (f *File) checkClients() (Access, error) {
	k := f.Clients
	var m mistakes
	a := Access{Listen: f.Listen, Token: k.Token, TokenFile: k.TokenFile, TokensFile: k.TokensFile}
	m.oneOf("clients.issued", k.Issued, IssuedAlso, IssuedOnly, IssuedOff)
	if k.Issued == IssuedOnly && a.NeedsToken() {
		m.wrong("clients.issued", "it is only, so the token that is configured would let nobody in; leave one of them out")
	}
	a.IssuedOnly = k.Issued == IssuedOnly
	if k.Issued != IssuedOff {
		a.IssuedDir, a.IssuedKey, a.IssuedRevoked = IssuedDir(f.StateDir), k.IssuedKey, k.IssuedRevoked
	} else if k.IssuedKey != "" {
		m.wrong("clients.issued_key_file", "clients.issued is off, so the key is not used; leave one of them out")
	}
	if k.IssuedRevoked != "" && k.IssuedKey == "" {
		m.wrong("clients.issued_revoked_file", "it is for replicas that take each other's tokens; set clients.issued_key_file too, or leave it out")
	}
	free, loopback, err := a.check("listen", "clients.token", "a URL")
	m.add(err)
	if free && !loopback && err == nil {
		m.wrong("listen", "%s can be reached from other machines, who could then act as you; set clients.token, or listen on 127.0.0.1", f.Listen)
	}
	for i, uid := range k.AllowUIDs {
		if uid < 0 || uid >= math.MaxUint32 {
			m.wrong(element("clients.allow_uids", i), "%d is not the number of a user; id -u NAME prints it", uid)
		}
		if !a.OwnUser && err == nil {
			m.wrong("clients.allow_uids", "it is only used where clients connect over loopback without a token, on Linux; leave it out")
		}
		a.UIDs = append(a.UIDs, uint32(uid))
	}
	return a, m.err()
}

func (f *File) checkAdmin() (Access, error) {
	a := Access{Listen: f.Admin, Token: f.AdminToken, TokenFile: f.AdminTokenFile}
	free, loopback, err := a.check("admin", "admin_token", "a header")
	if err == nil && free && !loopback {
		err = wrong("admin", "%s can be reached from other machines; set admin_token, or use a loopback address or unix:/path", f.Admin)
	}
	return a, err
}

func (k authzKeys) check() (a Access, labelHeader string, err error) {
	a = Access{Listen: k.Listen, Token: k.Token, TokenFile: k.TokenFile}
	var m mistakes
	if k.Listen == "" {
		for _, unused := range [][2]string{{"authz.token", k.Token}, {"authz.token_file", k.TokenFile}, {"authz.label_header", k.LabelHeader}} {
			if unused[1] != "" {
				m.wrong(unused[0], "nobody can ask; set authz.listen, or leave it out")
			}
		}
		return a, "", m.err()
	}
	free, loopback, err := a.check("authz.listen", "authz.token", "a header")
	m.add(err)
	if free && !(a.OwnUser && loopback) && err == nil {
		m.wrong("authz.listen", "others can reach %s, and would be given credentials; set authz.token, or listen on unix:/path", k.Listen)
	}
	if k.LabelHeader != "" {
		name := http.CanonicalHeaderKey(k.LabelHeader)
		if !httpguts.ValidHeaderFieldName(name) || name == authz.TokenHeader || slices.Contains(proxy.CredentialHeaders(), name) {
			m.wrong("authz.label_header", "%q is not a header that a gateway can put a label in; name one of its own, such as X-Agentproxy-Label", k.LabelHeader)
		}
	}
	return a, k.LabelHeader, m.err()
}

// atMostOne takes keys and their values in turn, and refuses a second value that is set.
func atMostOne(keysAndValues ...string) error {
	first := ""
	for i := 0; i < len(keysAndValues); i += 2 {
		key, value := keysAndValues[i], keysAndValues[i+1]
		switch {
		case value == "":
		case first != "":
			return wrong(key, "%s is set too; keep one of them", first)
		default:
			first = key
		}
	}
	return nil
}

// CheckToken returns an error if a token cannot stand in place, such as "a URL".
func CheckToken(token, place string) error {
	if !access.IsToken(token) {
		return fmt.Errorf("a token is one word of printable ASCII, as it has to stand in %s", place)
	}
	return nil
}

// ParseAddress returns the network and the address of "host:port" or "unix:/path".
func ParseAddress(s string) (network, address string, err error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		if !filepath.IsAbs(path) {
			return "", "", fmt.Errorf("%q: a socket is written as unix:/absolute/path", s)
		}
		return "unix", path, nil
	}
	_, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", "", fmt.Errorf("%q is not host:port, as in 127.0.0.1:8080, nor unix:/path", s)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", "", fmt.Errorf("%q: %q is not a port from 0 to 65535", s, port)
	}
	return "tcp", s, nil
}

// Dialable returns the address by which programs of this machine reach a listener on address.
func Dialable(network, address string) string {
	host, port, err := net.SplitHostPort(address)
	if network != "tcp" || err != nil || host != "" && !net.ParseIP(host).IsUnspecified() {
		return address
	}
	return net.JoinHostPort("127.0.0.1", port)
}

// isLoopback reports whether only this machine can reach a "host:port".
func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
