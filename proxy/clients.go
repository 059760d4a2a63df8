package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"strings"
)

// clients says who may use the proxy.
type clients struct {
	// tokenHash is the SHA-256 of the token that clients must show; nil lets
	// everyone in. Hashing makes the comparison take the same time for every
	// length of a guess.
	tokenHash *[sha256.Size]byte
}

func newClients(token string) clients {
	if token == "" {
		return clients{}
	}
	hash := sha256.Sum256([]byte(token))
	return clients{&hash}
}

// admit returns the session label of the client that sent r: the user name in
// its proxy URL.
func (c clients) admit(r *http.Request) (label string, refused *refusal) {
	label, password, ok := proxyCredentials(r.Header)
	if !ok && c.tokenHash == nil {
		return "", nil
	}
	if c.tokenHash != nil {
		hash := sha256.Sum256([]byte(password))
		if subtle.ConstantTimeCompare(hash[:], c.tokenHash[:]) != 1 {
			return "", refuse(http.StatusProxyAuthRequired, "proxy_auth_required", "http_request_denied",
				"the proxy wants its token: put it as the password into the proxy URL, as in http://LABEL:TOKEN@HOST:PORT")
		}
	}
	if err := checkLabel(label); err != "" {
		return "", refuse(http.StatusProxyAuthRequired, "bad_label", "http_request_denied", "the user name in the proxy URL %s", err)
	}
	return label, nil
}

// proxyCredentials reads Proxy-Authorization: Basic (RFC 7617).
func proxyCredentials(h http.Header) (user, password string, ok bool) {
	values := h["Proxy-Authorization"]
	if len(values) != 1 {
		return "", "", false
	}
	scheme, encoded, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(raw), ":")
}

// maxLabel bounds a session label, in bytes. Labels are keys of files and logs.
const maxLabel = 128

// checkLabel says what is wrong with a session label.
func checkLabel(label string) string {
	if len(label) > maxLabel {
		return "is longer than 128 bytes; it is a short label for the session"
	}
	for i := range len(label) {
		if c := label[i]; c < 0x21 || c > 0x7e {
			return "has a character that is not printable ASCII; it is a short label for the session"
		}
	}
	return ""
}
