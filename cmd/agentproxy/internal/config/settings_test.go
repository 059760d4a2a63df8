package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

// TestSecretsAreTagged looks for keys that hold a secret by their name, and has each tagged
// one hold one that must not be shown.
func TestSecretsAreTagged(t *testing.T) {
	t.Parallel()
	tagged := 0
	for _, key := range Keys() {
		name := key.Path[strings.LastIndex(key.Path, ".")+1:]
		secret := key.Field.Type.Kind() == reflect.String && (name == "token" || name == "key" || strings.HasSuffix(name, "_token") || strings.HasSuffix(name, "_key") || strings.Contains(name, "password") || strings.Contains(name, "secret"))
		if got := key.Field.Tag.Get("secret"); secret && got != "true" {
			t.Errorf("%s is not tagged as a secret", key.Path)
		}
		if key.Field.Tag.Get("secret") != "" {
			tagged++
		}
	}
	if tagged < 4 {
		t.Errorf("%d keys are tagged", tagged)
	}
	c, err := Load(configtest.Write(t, `
admin_token: sekret
clients: {token: sekret}
authz: {listen: "unix:/s", token: sekret}
upstream: {proxy: "http://user:sekret@proxy.example:3128"}
`), configtest.Environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range c.Settings(configtest.Environment(nil)) {
		if strings.Contains(fmt.Sprint(s.Value), "sekret") || strings.Contains(fmt.Sprint(s.Value), "user") {
			t.Errorf("%s shows %v", s.Path, s.Value)
		}
	}
}
