package logline

import (
	"fmt"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/proxy"
	"github.com/agentproxy/agentproxy/signer"
)

// Target returns what a request of a kind asks for: host and path, without the port that
// goes without saying.
func Target(kind, host, path string) string {
	if kind == proxy.KindPlain {
		if host == "" {
			return path
		}
		return "http://" + strings.TrimSuffix(host, ":80") + path
	}
	return strings.TrimSuffix(host, ":443") + path
}

// Credential returns the word for a kind of credential, "" for that of no request.
func Credential(scheme signer.Scheme) string {
	if scheme == signer.SchemeAssertion {
		return "assertion"
	}
	return strings.ToLower(string(scheme))
}

// Cut says in words that an exchange was cut, why, and by which side: client, server or
// proxy. It returns "" if failure is "".
func Cut(failure, by string) string {
	words := "cut"
	switch by {
	case "client", "server", "proxy":
		words += " by the " + by
	}
	switch failure {
	case "":
		return ""
	case "cut":
		return words
	}
	return words + ": " + failure
}

// Duration returns d in one unit, with two digits at least if they are known: "8 ms",
// "1.2 s", "3 min".
func Duration(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", max(d, 0)/time.Millisecond)
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Truncate(100*time.Millisecond).Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	}
	return fmt.Sprintf("%d h", d/time.Hour)
}

// Roughly returns d in one unit.
func Roughly(d time.Duration) string {
	for _, u := range []struct {
		least time.Duration
		unit  time.Duration
		name  string
	}{
		{730 * 24 * time.Hour, 365 * 24 * time.Hour, "years"},
		{48 * time.Hour, 24 * time.Hour, "days"},
		{2 * time.Hour, time.Hour, "hours"},
		{2 * time.Minute, time.Minute, "min"},
	} {
		if d >= u.least {
			return fmt.Sprintf("%d %s", d/u.unit, u.name)
		}
	}
	return fmt.Sprintf("%d s", max(d, 0)/time.Second)
}

// Bytes returns n bytes in one unit.
func Bytes(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, units := float64(n)/1000, []string{"kB", "MB", "GB", "TB", "PB", "EB"}
	i := 0
	for ; value >= 999.95; i++ {
		value /= 1000
	}
	return fmt.Sprintf("%.1f %s", value, units[i])
}
