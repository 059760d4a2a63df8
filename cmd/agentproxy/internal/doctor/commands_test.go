package doctor

import (
	"os/exec"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

// TestQuote has a shell read words of all kinds.
func TestQuote(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"plain", "", "two words", "it's", "$HOME", "~/x", "`id`", "a\nb", `back\slash`, "*", "sport = :8080", "--flag=x"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(word)).Output()
		if err != nil || string(out) != word {
			t.Errorf("%q is read as %q: %v", word, out, err)
		}
	}
	if got := quote("/etc/agentproxy/config.yaml"); got != "/etc/agentproxy/config.yaml" {
		t.Errorf("a plain path is quoted: %s", got)
	}
}

// TestOwnCommand names the configuration and the profile that are checked, before what is
// another program's.
func TestOwnCommand(t *testing.T) {
	t.Parallel()
	k := &checker{options: Options{ConfigName: "my file.yaml", Profile: "night"}, env: configtest.Environment(nil)}
	for got, want := range map[string]string{
		k.own("env"):                    "agentproxy env --config 'my file.yaml'",
		k.ownAs("identity", "register"): "agentproxy identity register --config 'my file.yaml' --profile night",
		k.ownAs("run", "--", "codex"):   "agentproxy run --config 'my file.yaml' --profile night -- codex",
		(&checker{}).own("serve"):       "agentproxy serve",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestComparison says which clock is ahead.
func TestComparison(t *testing.T) {
	t.Parallel()
	for offset, want := range map[time.Duration]string{
		time.Hour:         "1h0m0s behind the backend's",
		-90 * time.Second: "1m30s ahead of the backend's",
	} {
		if got := comparison(offset); got != want {
			t.Errorf("%s: %s, want %s", offset, got, want)
		}
	}
}
