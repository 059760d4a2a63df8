package hosts

import (
	"net/netip"
	"strings"
	"testing"
)

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{
		"chatgpt.com:443", "ChatGPT.com:443", "[::1]:443", "127.0.0.1:80", "127.1:80", "0x7f.1:80", "user@chatgpt.com:443",
		"chatgpt.com.:443", "[fe80::1%eth0]:1", ":443", "a:0", "a:65536", "a_b:1", "\u017f.com:443", "a..b:1", "[a]:1", "[::ffff:1.2.3.4]:1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTarget(s)
		if err != nil {
			if strings.Contains(s, "hush-hush") && strings.Contains(s, "@") && strings.Contains(err.Error(), "hush-hush") {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		if again, err := ParseTarget(got.Authority()); err != nil || again != got {
			t.Errorf("%q is %v, which is read as %v, %v", s, got, again, err)
		}
		if !got.Names(s, "443") {
			t.Errorf("%q does not name %v", s, got)
		}
		if strings.ContainsAny(got.Host, " @/\\%?#\r\n\x00") || got.Host != strings.ToLower(got.Host) {
			t.Errorf("host %q", got.Host)
		}
		// A name that is not an address cannot pass for one elsewhere.
		if _, err := netip.ParseAddr(got.Host); err != nil {
			last := got.Host[strings.LastIndexByte(got.Host, '.')+1:]
			if last == "" || last[0] >= '0' && last[0] <= '9' {
				t.Errorf("host %q", got.Host)
			}
		}
	})
}

func FuzzParseHostPattern(f *testing.F) {
	for _, s := range []string{"chatgpt.com", "*.chatgpt.com", "*.chatgpt.com:443", "[::1]:443", "*", "*.", "a:0", "*.127.1", ":443", "::1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePattern(s)
		if err != nil {
			return
		}
		if again, err := ParsePattern(p.String()); err != nil || again != p {
			t.Errorf("%q is %+v, written as %q, which is read as %+v, %v", s, p, p, again, err)
		}
		port := p.port
		if port == "" {
			port = "443"
		}
		host := p.name
		if p.suffix != "" {
			host = "x" + p.suffix
			if p.Match(p.suffix[1:], port) {
				t.Errorf("%q matches %q", s, p.suffix[1:])
			}
		}
		if !p.Match(host, port) || p.Match("y"+host+"y", port) {
			t.Errorf("%q and %q", s, host)
		}
	})
}
