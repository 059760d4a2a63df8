package clientenv

import (
	"fmt"
	"strings"
	"testing"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

// TestLeads reads where the variables of a shell lead.
func TestLeads(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ listen, value, want string }{
		{"127.0.0.1:8080", "http://127.0.0.1:8080", "here"},
		{"127.0.0.1:8080", "http://label:token@localhost:8080/", "here"},
		{"127.0.0.1:8080", "127.0.0.1:8080", "here"},
		{"localhost:8080", "http://127.0.0.1:8080", "here"},
		{"0.0.0.0:8080", "http://127.0.0.1:8080", "here"},
		{"[::1]:8080", "http://[::1]:8080", "here"},
		{"127.0.0.1:8080", "http://127.0.0.1:8081", "http://127.0.0.1:8081"},
		{"127.0.0.1:8080", "http://127.0.0.2:8080", "http://127.0.0.2:8080"},
		{"127.0.0.1:8080", "http://me:s3cret@proxy.example:8080", "http://proxy.example:8080"},
		{"127.0.0.1:0", "http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"unix:/run/x", "http://127.0.0.1:8080", "http://127.0.0.1:8080"},
		{"127.0.0.1:8080", "http://%zz", "what is no URL"},
	} {
		env := configtest.Environment(map[string]string{"https_proxy": test.value, "HTTP_PROXY": test.value})
		leads := Leads(env, &config.Config{Clients: config.Access{Listen: test.listen}})
		var got []string
		for _, lead := range leads {
			place := lead.Place()
			if lead.Here {
				place = "here"
			}
			got = append(got, fmt.Sprint(lead.Name, lead.HTTPS, " ", place))
		}
		if want := "https_proxytrue " + test.want + ",HTTP_PROXYfalse " + test.want; strings.Join(got, ",") != want {
			t.Errorf("%s, %s: %q, want %s", test.listen, test.value, got, want)
		}
	}
}
