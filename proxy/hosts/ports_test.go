package hosts

import (
	"testing"
)

func TestParsePortRange(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]PortRange{"1": {1, 1}, "443": {443, 443}, "8000-8999": {8000, 8999}, "1-65535": {1, 65535}, "5-5": {5, 5}} {
		if got, err := ParsePortRange(s); err != nil || got != want {
			t.Errorf("%q is %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "-", "1-", "-1", "65536", "9-8", "1-2-3", "a", " 1", "0443", "+1", "1 - 2", "https"} {
		if got, err := ParsePortRange(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}
