package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

// TestMistakes has files with many mistakes, all of which are found, and nothing that only
// comes of another.
func TestMistakes(t *testing.T) {
	t.Parallel()
	const see = "; see config.example.yaml for the keys and their values"
	for name, test := range map[string]struct {
		config string
		want   []string
	}{
		"none":   {"listen: 127.0.0.1:1", nil},
		"syntax": {"listen: [", []string{"1:9: not YAML: sequence end token ']' not found" + see}},
		"a tab":  {"clients:\n\ttoken: x", []string{"2:1: not YAML: a tab is no indentation; write spaces"}},
		"of each kind": {`
lisen: 127.0.0.1:8080
1: x
log: {level: loud, format: xml}
log: {level: info}
limits:
  connections: 0
  header_fields: many
  header_bytes: 1
  idle_timeout: soon
clients:
  token: 0123
chatgpt:
  hosts: [a b, chatgpt.com, "*.com"]
run: {isolate: perhaps, hide: [relative, /fine], env: {pass: ["a=b"], drop: ["", ok]}}
upstream: {allow_private: [10.0.0.0, x], proxy: nothing}
unheard_of: true
`, []string{
			"2:1: there is no key lisen; did you mean listen?",
			"3:1: there is no key 1" + see,
			`4:14: log.level: "loud" is none of debug, info, warn, error, disabled`,
			`4:28: log.format: "xml" is none of auto, console, json`,
			`5:1: key "log" already defined at [4:1]; keep one of them`,
			"7:16: limits.connections: 0 is too few for any client; give at least 1",
			"8:18: limits.header_fields: it is text, but must be a number" + see,
			"9:17: limits.header_bytes: 1 is too few for any client; give at least 4096",
			`10:17: limits.idle_timeout: "soon" is not a time such as 30s or 5m`,
			"12:10: clients.token: YAML takes this for a number and would change it; put it in quotes",
			`14:11: chatgpt.hosts[0]: host pattern "a b": host "a b" is not a DNS name: it has ' '; a pattern is a name such as "example.com", or "*.example.com" for all names below it`,
			`14:29: chatgpt.hosts[2]: host pattern "*.com": com is a public suffix, below which anybody can have a name; name the hosts`,
			`15:16: run.isolate: "perhaps" is none of auto, always, net, off`,
			`15:32: run.hide[0]: "relative" is not an absolute path`,
			`15:63: run.env.pass[0]: "a=b" is not the name of a variable`,
			`15:78: run.env.drop[0]: "" is not the name of a variable`,
			`16:28: upstream.allow_private[0]: "10.0.0.0" is not a CIDR such as 10.0.0.0/8 or 192.168.1.5/32`,
			`16:38: upstream.allow_private[1]: "x" is not a CIDR such as 10.0.0.0/8 or 192.168.1.5/32`,
			"16:49: upstream.proxy: it is neither a URL such as http://proxy.example:3128, nor env",
			"17:1: there is no key unheard_of" + see,
		}},
		"limits": {"limits: {connections: 0, header_fields: 1, handshake_timeout: 1ms}", []string{
			"1:23: limits.connections: 0 is too few for any client; give at least 1",
			"1:41: limits.header_fields: 1 is too few for any client; give at least 20",
			"1:63: limits.handshake_timeout: 1ms is too short for any client; give at least 1s",
		}},
		"pings": {"limits: {ping_after: 1ms}\nupstream: {ping_after: -1s}", []string{
			"1:22: limits.ping_after: 1ms is too short for any client; give at least 1s, or 0s for no pings",
			"2:24: upstream.ping_after: -1s is too short; give at least 1s, or 0s for no pings",
		}},
		"no pings before now": {"limits: {ping_after: -1s}\nupstream: {ping_after: never}", []string{
			"1:22: limits.ping_after: -1s is before now; give at least 1s, or 0s for no pings",
			`2:24: upstream.ping_after: "never" is not a time such as 30s or 5m`,
		}},
		"none at all": {"limits: {ping_after: 0s}\nupstream: {ping_after: 0s}", nil},
		"profiles": {`
clients: {trust_labels: true}
signer: {use: magic}
profiles:
  - {name: A, labels: [a], signer: {use: token}}
  - {name: b, labels: ["b c"], scope: {on_miss: never}}
  - {name: b, labels: []}
`, []string{
			`3:15: signer.use: "magic" is none of auto, agent-assertion, bearer, command, token`,
			`5:12: profiles[0].name: "A" is not a name of lower-case letters, digits and - between them, 63 at most`,
			"5:42: profiles[0].signer.use: token needs either token_env or token_file, to say where the token is",
			`6:24: profiles[1].labels[0]: label pattern "b c" has a character that is not printable ASCII; it is a short label for the session`,
			`6:49: profiles[1].scope.on_miss: "never" is neither refuse nor warn`,
			"7:12: profiles[2].name: there is another profile b; choose another name",
			`7:23: profiles[2].labels: no client would have this profile; list its labels, as in ["build-*"]`,
		}},
		// A listener that others reach needs the token that is meant to be there.
		"what comes of a mistyped key":  {"listen: 0.0.0.0:8080\nclients: {tokn: t}", []string{"2:11: there is no key clients.tokn; did you mean clients.token?"}},
		"what comes of a mistyped type": {"listen: 0.0.0.0:8080\nclients: {token: [t]}", []string{"2:18: clients.token: it is a list, but must be text" + see}},
		"what comes of another's type":  {"signer: {use: [token], token_file: x, command: []}", []string{"1:15: signer.use: it is a list, but must be text" + see}},
		"a rule without its use":        {"signer: {rules: [{use: [a], path: /x}]}", []string{"1:24: signer.rules[0].use: it is a list, but must be text" + see}},
		"a profile without labels":      {"clients: {issued: only}\nprofiles: [{name: a, labels: x}]", []string{"2:30: profiles[0].labels: it is text, but must be a list" + see}},
		"an alias of what is removed":   {"lgo: &a {level: info}\nlog: *a", []string{"1:1: there is no key lgo; did you mean log?"}},
		"in another section":            {"token_file: /x\nsigner: {use: token, tokenfile: x}\nbase_url: https://x", []string{"1:1: there is no key token_file" + see, "2:22: there is no key signer.tokenfile; did you mean signer.token_file?", "3:1: there is no key base_url; did you mean chatgpt.base_url?"}},
	} {
		var got []string
		path := configtest.Write(t, test.config)
		for _, e := range Mistakes(path, configtest.Environment(nil)) {
			got = append(got, strings.TrimPrefix(fmt.Sprintf("%s: %s", e.Place(), e.Err), path+":"))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestMistakesEnd has more mistakes than are looked for.
func TestMistakesEnd(t *testing.T) {
	t.Parallel()
	var content strings.Builder
	for i := range 3 * maxMistakes {
		fmt.Fprintf(&content, "unknown_%d: x\n", i)
	}
	if n := len(Mistakes(configtest.Write(t, content.String()), configtest.Environment(nil))); n != maxMistakes {
		t.Errorf("%d mistakes", n)
	}
}

// FuzzMistakes compares what is found with what a configuration is refused for.
func FuzzMistakes(f *testing.F) {
	for _, seed := range []string{
		"", "listen: x", "a: &x [b]\nc: *x", "log: {level: [], level: x}\n? [a]\n: b", "- a\n- b", "scope: {allow: [{host: [a]}, codex, 7]}",
		"profiles: [{name: a, labels: [{}], x: y}, z]", "<<: {listen: 1}\nlog: {<<: [a]}", "clients: {token: !!binary aGk=}", "signer:\n rules:\n  - use: x\n    y: z",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, content string) {
		read := func(string) ([]byte, error) { return []byte(content), nil }
		c, err := LoadWith("x", configtest.Environment(nil), read)
		_, wrong := load("x", configtest.Environment(nil), read)
		if (err == nil) != (len(wrong) == 0) || (err == nil) != (c != nil) {
			t.Errorf("%v, %v", err, wrong)
		}
		for _, e := range wrong {
			if strings.ContainsRune(e.Where, '\n') || e.Err == nil {
				t.Errorf("%+v", e)
			}
		}
	})
}
