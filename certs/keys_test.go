package certs_test

import (
	"bytes"
	"crypto"
	"fmt"
	"reflect"
	"testing"

	"github.com/agentproxy/agentproxy/certs"
)

// The CA's key stays in the package: nothing that an Authority gives away holds
// it, or is of a type that could.
func TestKeysStayInside(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	open(t, cfg)
	a := prepare(t, cfg)
	key := authorityKey(t, cfg)
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}

	authority := reflect.TypeFor[*certs.Authority]()
	for i := range authority.NumMethod() {
		method := authority.Method(i)
		for out := range method.Type.Outs() {
			switch out.String() {
			case "string", "bool", "int", "error", "[]uint8", "*x509.Certificate", "*tls.Certificate":
			default:
				t.Errorf("%s returns a %s", method.Name, out)
			}
		}
	}
	for name, data := range map[string][]byte{"PEM": a.PEM(), "Bundle": a.Bundle(certs.Roots{}), "printed": fmt.Appendf(nil, "%+v", a)} {
		if bytes.Contains(data, []byte("PRIVATE")) || bytes.Contains(data, raw) || bytes.Contains(data, fmt.Appendf(nil, "%x", raw)) {
			t.Errorf("%s holds a key", name)
		}
	}
	private := leaf(t, a, "chatgpt.com").PrivateKey
	if private.(interface{ Equal(crypto.PrivateKey) bool }).Equal(key) {
		t.Error("leaves have the CA's key")
	}
}
