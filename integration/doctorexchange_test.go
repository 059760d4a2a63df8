//go:build linux

package integration

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// checkStatesOfExchange are what agentproxy check is to judge of the issuers of workloads'
// tokens.
var checkStatesOfExchange = []checkState{
	{"an issuer of workloads' tokens answers", 0, func(t *testing.T, p *patient) { p.trust(t, "ca_file", "token_file") }},
	{"an issuer wants to see a token", 1, func(t *testing.T, p *patient) { p.trust(t, "ca_file") }},
	{"the token for an issuer is not there", 1, func(t *testing.T, p *patient) {
		p.trust(t, "ca_file", "token_file")
		p.remove(t, filepath.Join(p.dir, "api-token"))
	}},
	{"an issuer at a private address", 1, func(t *testing.T, p *patient) { p.trust(t, "token_file") }},
	{"an issuer of another CA", 1, func(t *testing.T, p *patient) {
		p.name(t, newAPIServer(t).Server, fmt.Sprintf("ca_file: %q, ", filepath.Join(p.dir, "upstream-ca.pem")))
	}},
	{"nobody answers for an issuer", 1, func(t *testing.T, p *patient) {
		api, address := p.trust(t, "ca_file", "token_file"), freeAddress(t)
		p.edit(t, strings.TrimPrefix(api.URL, "https://"), address)
		p.cut = append(p.cut, address, "ISSUER")
	}},
	{"an issuer without keys", 1, func(t *testing.T, p *patient) {
		p.keys(t, func(w http.ResponseWriter) { fmt.Fprint(w, `{"keys":[]}`) })
	}},
	{"an issuer with two keys, one of which cannot sign", 0, func(t *testing.T, p *patient) {
		p.keys(t, func(w http.ResponseWriter) { fmt.Fprintf(w, `{"keys":[%s,{"kty":"oct","k":"c2VjcmV0"}]}`, aKey) })
	}},
	{"an issuer's clock is ahead", 1, func(t *testing.T, p *patient) { p.keysAt(t, time.Hour) }},
	{"an issuer's clock is behind", 0, func(t *testing.T, p *patient) { p.keysAt(t, -time.Hour) }},
	{"an issuer does not say what time it is", 0, func(t *testing.T, p *patient) {
		p.keys(t, func(w http.ResponseWriter) {
			w.Header()["Date"] = nil
			fmt.Fprintf(w, `{"keys":[%s]}`, aKey)
		})
	}},
}

// aKey is a public key of Ed25519 (RFC 8037, appendix A.2).
const aKey = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`

// trust has the configuration name an API server as an issuer, with these keys of its entry.
func (p *patient) trust(t *testing.T, keys ...string) *apiServer {
	t.Helper()
	api := newAPIServer(t)
	api.newKey(t)
	p.write(t, filepath.Join(p.dir, "api-token"), "the-pods-own\n", 0o600)
	files := map[string]string{"ca_file": "api-ca.pem", "token_file": "api-token"}
	more := ""
	for _, key := range keys {
		more += fmt.Sprintf("%s: %q, ", key, filepath.Join(p.dir, files[key]))
	}
	p.name(t, api.Server, more)
	return api
}

// keys has the configuration name an issuer whose keys are what answer writes.
func (p *patient) keys(t *testing.T, answer func(http.ResponseWriter)) {
	t.Helper()
	issuer := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { answer(w) }))
	t.Cleanup(issuer.Close)
	p.name(t, issuer, fmt.Sprintf("ca_file: %q, keys_url: %s/keys, ", filepath.Join(p.dir, "api-ca.pem"), issuer.URL))
}

// keysAt has the configuration name an issuer whose clock is ahead.
func (p *patient) keysAt(t *testing.T, ahead time.Duration) {
	t.Helper()
	p.keys(t, func(w http.ResponseWriter) {
		w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		fmt.Fprintf(w, `{"keys":[%s]}`, aKey)
	})
}

// name has the configuration name an issuer, with more in its entry.
func (p *patient) name(t *testing.T, issuer *httptest.Server, more string) {
	t.Helper()
	writeFile(t, filepath.Join(p.dir, "api-ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Certificate().Raw}))
	p.cut = append(p.cut, strings.TrimPrefix(issuer.URL, "https://"), "ISSUER")
	p.add(t, fmt.Sprintf("exchange: {issuers: [{issuer: %s, audience: agentproxy, %slabels: [{claims: {sub: builder}, label: b}]}]}", issuer.URL, more))
}
