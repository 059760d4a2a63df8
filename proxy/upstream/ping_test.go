package upstream

import (
	"testing"
	"time"
)

// TestPings has the interval of the configuration, and that of one that names none.
func TestPings(t *testing.T) {
	t.Parallel()
	for configured, want := range map[time.Duration]time.Duration{0: DefaultPingAfter, 7 * time.Second: 7 * time.Second, -1: 0} {
		if got := NewTransport(Config{PingAfter: configured}).HTTP2.SendPingTimeout; got != want {
			t.Errorf("with %s it is %s, want %s", configured, got, want)
		}
	}
	if (Config{PingAfter: time.Second}).Equal(Config{}) {
		t.Error("another interval changes nothing")
	}
}
