package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/configtest"
)

const seeExample = "; see config.example.yaml for the keys and their values"

// trusting comes before the profiles of a configuration.
const trusting = "clients: {trust_labels: true}\nprofiles:\n"

// githubIssuer begins an issuer of workloads' tokens.
const githubIssuer = "{issuer: https://a.example, audience: b, "

// Every mistake is named on one line: where it is, what it is, what to do.
var configMistakes = []struct{ name, config, want string }{
	{"unknown key", "lissten: 127.0.0.1:8080", ":1: there is no key lissten; did you mean listen?"},
	{"unknown key below", "chatgpt:\n  hots: []", ":2: there is no key chatgpt.hots; did you mean chatgpt.hosts?"},
	{"unknown key of the signer", "signer:\n  using: auto", ":2: there is no key signer.using" + seeExample},
	{"unknown key of a rule", "signer:\n  rules:\n    - use: none\n      hoost: x", ":4: there is no key signer.rules[0].hoost; did you mean signer.rules[0].host?"},
	{"number as key", "1: x", ":1: there is no key 1" + seeExample},
	{"list for text", "listen:\n  - a", ":2: listen: it is a list, but must be text" + seeExample},
	{"mapping for text", "listen:\n  a: b", ":2: listen: it is a mapping, but must be text" + seeExample},
	{"text for list", "chatgpt: {hosts: chatgpt.com}", ":1: chatgpt.hosts: it is text, but must be a list" + seeExample},
	{"text for mapping", "log: info", ":1: log: it is text, but must be a mapping" + seeExample},
	{"list for mapping", "upstream:\n  connect_to: [a]", ":2: upstream.connect_to: it is a list, but must be a mapping" + seeExample},
	{"mapping in list", "chatgpt:\n  hosts:\n    - a: b", ":3: chatgpt.hosts[0]: it is a mapping, but must be text" + seeExample},
	{"a list at the top", "- a", ":1: configuration: it is a list, but must be a mapping" + seeExample},
	{"text at the top", "hello", ":1: configuration: it is text, but must be a mapping" + seeExample},
	{"secret of a wrong type", "clients: {token: [sekret]}", ":1: clients.token: it is a list, but must be text" + seeExample},
	{"text that is an octal number", "clients:\n  token: 0123", ":2: clients.token: YAML takes this for a number and would change it; put it in quotes"},
	{"text that is a float", "clients:\n  token: 1.50", ":2: clients.token: YAML takes this for a number and would change it; put it in quotes"},
	{"duplicate key", "listen: 127.0.0.1:1\n\nlisten: 127.0.0.1:2", `:3: key "listen" already defined at [1:1]; keep one of them`},
	{"two documents", "listen: 127.0.0.1:1\n---\nlisten: 127.0.0.1:2", ":3: a second document begins here; a configuration is one document, so remove the line ---"},
	{"not YAML", "a: b: c", ":1: not YAML: mapping value is not allowed in this context" + seeExample},
	{"unended text", "listen: \"127.0.0.1:1\n", ":1: not YAML: could not find end character of double-quoted text" + seeExample},
	{"unknown alias", "listen: *x", `:1: not YAML: could not find alias "x"` + seeExample},
	{"binary", "\x00\x01", ": not a text file; name a configuration in YAML with --config"},
	{"not UTF-8", "listen: \xff", ": not a text file; name a configuration in YAML with --config"},

	{"listen without port", "listen: 127.0.0.1", `:1: listen: "127.0.0.1" is not host:port, as in 127.0.0.1:8080, nor unix:/path`},
	{"listen on a bad port", "listen: 127.0.0.1:80800", `:1: listen: "127.0.0.1:80800": "80800" is not a port from 0 to 65535`},
	{"listen on a relative socket", "listen: unix:sock", `:1: listen: "unix:sock": a socket is written as unix:/absolute/path`},
	{"listen for others", "admin: \"\"\nlisten: :8080", ":2: listen: :8080 can be reached from other machines, who could then act as you; set clients.token, or listen on 127.0.0.1"},
	{"admin for others", "clients: {token: t}\nadmin: 0.0.0.0:9080", ":2: admin: 0.0.0.0:9080 can be reached from other machines; set admin_token, or use a loopback address or unix:/path"},
	{"admin", "admin: 9080", `:1: admin: "9080" is not host:port, as in 127.0.0.1:8080, nor unix:/path`},
	{"base URL", "chatgpt:\n  base_url: ftp://x", `:2: chatgpt.base_url: base URL "ftp://x": scheme "ftp"; use https`},
	{"no hosts", "chatgpt:\n  hosts: []", ":2: chatgpt.hosts: no host would be signed for; leave the key out for ChatGPT's"},
	{"host pattern", "chatgpt:\n  hosts:\n    - chatgpt.com\n    - chat*.com", `:4: chatgpt.hosts[1]: host pattern "chat*.com": host "chat*.com" is not a DNS name: it has '*'; a pattern is a name such as "example.com", or "*.example.com" for all names below it`},
	{"identity.store", "identity: {store: disk}", `:1: identity.store: "disk" is neither state nor keyring`},
	{"identity.file", "identity:\n  store: keyring\n  file: x", ":3: identity.file: identity.store is keyring, which would not be used; keep one of them"},
	{"identity.register", "identity: {register: 7}", ":1: identity.register: it is a number, but must be true or false" + seeExample},
	{"profiles without tokens", "profiles:\n  - {name: a, labels: [a]}", ":2: profiles: without clients.tokens_file a client can give itself any label, and act as any of these agents; set it, or clients.issued: only, or clients.trust_labels: true if all clients may"},
	{"issued", "clients: {issued: on}", `:1: clients.issued: "on" is none of also, only, off`},
	{"issued alone beside a token", "clients: {token: t, issued: only}", ":1: clients.issued: it is only, so the token that is configured would let nobody in; leave one of them out"},
	{"trust_labels beside issued alone", "clients: {issued: only, trust_labels: true}\nprofiles: [{name: a, labels: [a]}]", ":1: clients.trust_labels: clients.issued is only, and each such token is for one label; leave it out"},
	{"identity.login", "identity: {login: mine}", `:1: identity.login: "mine" is none of auto, own, codex`},
	{"identity.login of a profile", trusting + "  - {name: a, labels: [a], identity: {login: mine}}", `:3: profiles[0].identity.login: "mine" is none of auto, own, codex`},
	{"trust_labels without profiles", "clients: {trust_labels: true}", ":1: clients.trust_labels: it is only used with profiles; leave it out"},
	{"unknown key of a profile", trusting + "  - {name: a, labels: [a], lables: [b]}", ":3: there is no key profiles[0].lables; did you mean profiles[0].labels?"},
	{"unknown key of a profile's signer", trusting + "  - {name: a, labels: [a], signer: {using: x}}", ":3: there is no key profiles[0].signer.using" + seeExample},
	{"profile's name", trusting + "  - name: ../x\n    labels: [a]", `:3: profiles[0].name: "../x" is not a name of lower-case letters, digits and - between them, 63 at most`},
	{"profile's name, too long", trusting + "  - name: " + strings.Repeat("a", 64) + "\n    labels: [a]", `:3: profiles[0].name: "` + strings.Repeat("a", 64) + `" is not a name of lower-case letters, digits and - between them, 63 at most`},
	{"profile without a name", trusting + "  - labels: [a]", `:3: profiles[0].name: "" is not a name of lower-case letters, digits and - between them, 63 at most`},
	{"profile's name again", trusting + "  - {name: a, labels: [a]}\n  - {name: a, labels: [b]}", ":4: profiles[1].name: there is another profile a; choose another name"},
	{"profile without labels", trusting + "  - {name: a}", `:3: profiles[0].labels: no client would have this profile; list its labels, as in ["build-*"]`},
	{"profile's label", trusting + "  - name: a\n    labels:\n      - a\n      - b c", `:6: profiles[0].labels[1]: label pattern "b c" has a character that is not printable ASCII; it is a short label for the session`},
	{"profile after all", trusting + "  - {name: a, labels: ['*']}\n  - {name: b, labels: [b]}", ":4: profiles[1]: no client has this profile: profile a before it is for all labels; put it last"},
	{"profile that refuses and signs", trusting + "  - {name: a, labels: [a], refuse: true, hosts: []}", ":3: profiles[0].refuse: such clients are served nothing; leave out all but name and labels"},
	{"profile's signer", trusting + "  - name: a\n    labels: [a]\n    signer:\n      use: nobody", `:6: profiles[0].signer.use: "nobody" is none of auto, agent-assertion, bearer, command, token`},
	{"profile's store", trusting + "  - {name: a, labels: [a], identity: {store: disk}}", `:3: profiles[0].identity.store: "disk" is neither state nor keyring`},
	{"profile's hosts", trusting + "  - {name: a, labels: [a], hosts: [chatgpt.com, example.com]}", ":3: profiles[0].hosts[1]: example.com is not among chatgpt.hosts, which are those that are signed for; add it there, or leave it out"},
	{"profile's other hosts", trusting + "  - {name: a, labels: [a], other_hosts: some}", `:3: profiles[0].other_hosts: "some" is neither tunnel, nor refuse, nor a list of hosts`},
	{"profile's limits", trusting + "  - {name: a, labels: [a], limits: {connections_per_label: 0}}", ":3: profiles[0].limits.connections_per_label: 0 is too few for any client; give at least 1"},
	{"retry_body_limit", "retry_body_limit: -1", ":1: retry_body_limit: -1 is not a number of bytes; 0 keeps no body"},
	{"retry_body_limit of a wrong type", "retry_body_limit: lots", ":1: retry_body_limit: it is text, but must be a number" + seeExample},

	{"signer.use", "signer:\n  use: magic", `:2: signer.use: "magic" is none of auto, agent-assertion, bearer, command, token`},
	{"signer.use none", "signer: {use: none}", ":1: signer.use: none is for rules: a proxy that signs nothing is of no use; name auto, agent-assertion, bearer, command or token"},
	{"signer.on_failure", "signer:\n  on_failure: maybe", `:2: signer.on_failure: "maybe" is neither bearer nor refuse`},
	{"token from nowhere", "signer:\n  use: token", ":2: signer.use: token needs either token_env or token_file, to say where the token is"},
	{"token from two places", "signer: {use: token, token_env: A, token_file: b}", ":1: signer.use: token needs either token_env or token_file, to say where the token is"},
	{"token_env for another", "signer:\n  token_env: A", ":2: signer.token_env: it is only used by use: token, but use is auto"},
	{"token_file for another", "signer:\n  use: bearer\n  token_file: a", ":3: signer.token_file: it is only used by use: token, but use is bearer"},
	{"no command", "signer:\n  use: command", ":2: signer.command: a command is needed: a program and its arguments, as in [pass, show, chatgpt]"},
	{"command for another", "signer:\n  command: [x]", ":2: signer.command: it is only used by use: command, but use is auto"},
	{"missing program", "signer:\n  use: command\n  command: [no-such-program]", ":3: signer.command: no-such-program: executable file not found in $PATH; name a program that is installed, or its path"},
	{"missing program file", "signer: {use: command, command: [/no/such/program]}", ":1: signer.command: /no/such/program: no such file or directory; name a program that is installed, or its path"},
	{"rule without use", "signer:\n  rules:\n    - host: chatgpt.com", ":3: signer.rules[0]: use is missing; name a signer, none, client or refuse"},
	{"rule for everything", "signer: {rules: [{use: none}]}", ":1: signer.rules[0]: it matches everything; give it a host, methods or a path, or change signer.use"},
	{"rule's host", "signer: {rules: [{use: none, host: 'a*'}]}", `:1: signer.rules[0]: host pattern "a*": only a leading "*." may stand for names below a host`},
	{"rule's path", "signer: {rules: [{use: none, path: a}]}", `:1: signer.rules[0]: path pattern "a": must begin with "/" or "**"`},
	{"rule's use", "signer:\n  rules:\n    - {use: none, path: /a}\n    - use: magic\n      path: /b", `:4: signer.rules[1].use: "magic" is none of auto, agent-assertion, bearer, command, token`},
	{"rule's methods", "signer: {rules: [{use: refuse, methods: [trace]}]}", `:1: signer.rules[0]: method "trace" is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS`},
	{"rule's public suffix", "signer: {rules: [{use: none, host: '*.co.uk'}]}", `:1: signer.rules[0]: host pattern "*.co.uk": co.uk is a public suffix, below which anybody can have a name; name the hosts`},
	{"refuse for all", "signer: {use: refuse}", ":1: signer.use: refuse is for rules: a proxy that signs nothing is of no use; name auto, agent-assertion, bearer, command or token"},

	{"scope.on_miss", "scope: {on_miss: sign}", `:1: scope.on_miss: "sign" is neither refuse nor warn`},
	{"empty scope", "scope:\n  allow: []", ":2: scope.allow: nothing would be signed; leave the key out for what Codex asks for"},
	{"scope's word", "scope:\n  allow:\n    - codex\n    - everything", `:4: scope.allow[1]: "everything" is neither codex, nor all, nor a mapping with host, methods and path`},
	{"scope of every path", "scope: {allow: [{methods: [GET]}]}", ":1: scope.allow[0]: it matches every path; give it a host or a path, or write all"},
	{"scope's key", "scope:\n  allow:\n    - codex\n    - {host: chatgpt.com, paths: /a}", ":4: there is no key scope.allow[1].paths; did you mean scope.allow[1].path?"},
	{"scope's path", "scope: {allow: [{path: a}]}", `:1: scope.allow[0]: path pattern "a": must begin with "/" or "**"`},
	{"scope's public suffix", "scope:\n  allow:\n    - host: '*.com'", `:3: scope.allow[0]: host pattern "*.com": com is a public suffix, below which anybody can have a name; name the hosts`},
	{"scope's upgrade", "scope: {allow: [{path: /a, upgrade: h2c}]}", `:1: scope.allow[0]: upgrade: "h2c" is not websocket, which is all that a connection can be upgraded to`},
	{"scope's text", "scope: {allow: codex}", ":1: scope.allow: it is text, but must be a list" + seeExample},
	{"hosts' public suffix", "chatgpt:\n  hosts: [chatgpt.com, '*.github.io']", `:2: chatgpt.hosts[1]: host pattern "*.github.io": github.io is a public suffix, below which anybody can have a name; name the hosts`},
	{"hosts' public suffix with a port", "chatgpt: {hosts: ['*.com:443']}", `:1: chatgpt.hosts[0]: host pattern "*.com:443": com is a public suffix, below which anybody can have a name; name the hosts`},

	{"rule's on_failure", "signer: {rules: [{use: bearer, path: /a, on_failure: refuse}]}", ":1: signer.rules[0].on_failure: it is only used by use: auto, but use is bearer"},

	{"two client tokens", "clients:\n  token: a\n  token_file: b", ":3: clients.token_file: clients.token is set too; keep one of them"},
	{"missing token file", "clients:\n  token_file: $DIR/nope", ":2: clients.token_file: $DIR/nope: no such file or directory; write a token there, such as the output of: openssl rand -hex 32"},
	{"empty token file", "clients:\n  token_file: /dev/null", ":2: clients.token_file: /dev/null: not a regular file; write a token there, such as the output of: openssl rand -hex 32"},
	{"token file of more", "clients:\n  token_file: $DIR/config.yaml", ":2: clients.token_file: a token is one word of printable ASCII, as it has to stand in a URL"},
	{"client token", "clients:\n  token: two words", ":2: clients.token: a token is one word of printable ASCII, as it has to stand in a URL"},

	{"tokens besides a token", "clients:\n  token: a\n  tokens_file: b", ":3: clients.tokens_file: clients.token is set too; keep one of them"},
	{"tokens besides a token file", "clients:\n  tokens_file: a\n  token_file: b", ":2: clients.tokens_file: clients.token_file is set too; keep one of them"},
	{"missing tokens file", "clients:\n  tokens_file: $DIR/nope", ":2: clients.tokens_file: $DIR/nope: no such file or directory; write a line LABEL:TOKEN there, with a token such as the output of: openssl rand -hex 32"},
	{"tokens file with a mistake", "clients:\n  tokens_file: $DIR/config.yaml", ":2: clients.tokens_file: $DIR/config.yaml:1: there is no token after the colon; write one there, such as the output of: openssl rand -hex 32"},
	{"allow_uids", "clients:\n  allow_uids:\n    - 0\n    - -1", ":4: clients.allow_uids[1]: -1 is not the number of a user; id -u NAME prints it"},
	{"allow_uids of names", "clients: {allow_uids: [nobody]}", ":1: clients.allow_uids[0]: it is text, but must be a number" + seeExample},
	{"allow_uids with a token", "clients:\n  token: a\n  allow_uids: [1]", ":3: clients.allow_uids: it is only used where clients connect over loopback without a token, on Linux; leave it out"},
	{"allow_uids on a socket", "listen: unix:/s\nclients: {allow_uids: [1]}", ":2: clients.allow_uids: it is only used where clients connect over loopback without a token, on Linux; leave it out"},
	{"two admin tokens", "admin_token: a\nadmin_token_file: b", ":2: admin_token_file: admin_token is set too; keep one of them"},
	{"missing admin token file", "admin_token_file: $DIR/nope", ":1: admin_token_file: $DIR/nope: no such file or directory; write a token there, such as the output of: openssl rand -hex 32"},
	{"admin token", "admin_token: two words of sekret", ":1: admin_token: a token is one word of printable ASCII, as it has to stand in a header"},

	{"authz", "authz: {listen: 9090}", `:1: authz.listen: "9090" is not host:port, as in 127.0.0.1:8080, nor unix:/path`},
	{"authz for others", "authz:\n  listen: 0.0.0.0:9090", ":2: authz.listen: others can reach 0.0.0.0:9090, and would be given credentials; set authz.token, or listen on unix:/path"},
	{"two authz tokens", "authz:\n  listen: unix:/a\n  token: a\n  token_file: b", ":4: authz.token_file: authz.token is set too; keep one of them"},
	{"missing authz token file", "authz: {listen: 'unix:/a', token_file: $DIR/nope}", ":1: authz.token_file: $DIR/nope: no such file or directory; write a token there, such as the output of: openssl rand -hex 32"},
	{"authz token", "authz: {listen: 'unix:/a', token: two words of sekret}", ":1: authz.token: a token is one word of printable ASCII, as it has to stand in a header"},
	{"authz token for nobody", "authz:\n  token: sekret", ":2: authz.token: nobody can ask; set authz.listen, or leave it out"},
	{"authz label for nobody", "authz:\n  label_header: X-Label", ":2: authz.label_header: nobody can ask; set authz.listen, or leave it out"},
	{"authz label in no header", "authz: {listen: 'unix:/a', label_header: 'X Label'}", `:1: authz.label_header: "X Label" is not a header that a gateway can put a label in; name one of its own, such as X-Agentproxy-Label`},
	{"authz label in a credential", "authz: {listen: 'unix:/a', label_header: authorization}", `:1: authz.label_header: "authorization" is not a header that a gateway can put a label in; name one of its own, such as X-Agentproxy-Label`},
	{"authz label in the token", "authz: {listen: 'unix:/a', label_header: x-agentproxy-token}", `:1: authz.label_header: "x-agentproxy-token" is not a header that a gateway can put a label in; name one of its own, such as X-Agentproxy-Label`},

	{"connect_to without port", "upstream:\n  connect_to:\n    chatgpt.com: 127.0.0.1:1", `:3: upstream.connect_to: "chatgpt.com" has no port; write it as chatgpt.com:443`},
	{"ca_file", "upstream:\n  ca_file: $DIR/nope.pem", ":2: upstream.ca_file: $DIR/nope.pem: no such file or directory; name a file of certificates in PEM form"},
	{"ca_file without one", "upstream:\n  ca_file: /dev/null", ":2: upstream.ca_file: /dev/null: not a regular file; name a file of certificates in PEM form"},
	{"upstream.proxy", "upstream:\n  proxy: proxy.example", ":2: upstream.proxy: it is neither a URL such as http://proxy.example:3128, nor env"},
	{"upstream.proxy of another kind", "upstream:\n  proxy: socks4://u:sekret@x", ":2: upstream.proxy: its scheme is none of http, https, socks5, socks5h"},
	{"upstream.proxy without a user", "upstream:\n  proxy: socks5://:sekret@x", ":2: upstream.proxy: a user name of SOCKS5 has 1 to 255 bytes, and a password at most as many"},
	{"CIDR", "upstream:\n  allow_private:\n    - 10.0.0.0/8\n    - 10.0.0.1", `:4: upstream.allow_private[1]: "10.0.0.1" is not a CIDR such as 10.0.0.0/8 or 192.168.1.5/32`},
	{"other_hosts", "other_hosts: deny", `:1: other_hosts: "deny" is neither tunnel, nor refuse, nor a list of hosts`},
	{"other_hosts' pattern", "other_hosts:\n  - a.example\n  - a b", `:3: other_hosts[1]: host pattern "a b": host "a b" is not a DNS name: it has ' '; a pattern is a name such as "example.com", or "*.example.com" for all names below it`},
	{"port", "other_ports: [80, 443, 70000]", `:1: other_ports[2]: "70000" is neither a port nor a range such as 8000-8999: port "70000" is not a number from 1 to 65535`},
	{"range of ports", "other_ports:\n  - 8000-x", `:2: other_ports[0]: "8000-x" is neither a port nor a range such as 8000-8999: port "x" is not a number from 1 to 65535`},
	{"range of ports, backwards", "other_ports:\n  - 9-8", `:2: other_ports[0]: range "9-8" ends before it begins; write it as 8-9`},
	{"no connections", "limits:\n  connections: 0", ":2: limits.connections: 0 is too few for any client; give at least 1"},
	{"negative limit", "limits: {connections_per_label: -1}", ":1: limits.connections_per_label: -1 is too few for any client; give at least 1"},
	{"more of a label than of all", "limits:\n  connections: 10\n  connections_per_label: 11", ":3: limits.connections_per_label: 11 is more than limits.connections allows in all, which is 10; lower the one or raise the other"},
	{"requests of a label", "limits: {requests_per_label: 0}", ":1: limits.requests_per_label: 0 is too few for any client; give at least 1"},
	{"requests in a minute", "limits:\n  requests_per_minute: -1", ":2: limits.requests_per_minute: -1 is not a limit; give 1 to 1000000, or 0 for none"},
	{"streams", "limits: {total_streams: 1000001}", ":1: limits.total_streams: 1000001 is not a limit; give 1 to 1000000, or 0 for none"},
	{"limits for no label", "limits:\n  for_labels:\n    - {streams: 1}", `:3: limits.for_labels[0].labels: it is for no client; list labels, as in ["build-*"]`},
	{"no limits for a label", "limits:\n  for_labels:\n    - {labels: [a]}", ":3: limits.for_labels[0]: it has no limit; give requests_per_minute or streams, or leave it out"},
	{"limits for a bad label", "limits:\n  for_labels:\n    - labels: [a, b c]\n      streams: 1", `:3: limits.for_labels[0].labels[1]: label pattern "b c" has a character that is not printable ASCII; it is a short label for the session`},
	{"a bad limit for a label", "limits: {for_labels: [{labels: [a], streams: -2}]}", ":1: limits.for_labels[0].streams: -2 is not a limit; give 1 to 1000000, or 0 for none"},
	{"profile's requests", trusting + "  - {name: a, labels: [a], limits: {requests_per_minute: -1}}", ":3: profiles[0].limits.requests_per_minute: -1 is not a limit; give 1 to 1000000, or 0 for none"},
	{"exchange without issuers", "exchange: {listen: 127.0.0.1:1}", ":1: exchange.listen: nobody would be given a token; set exchange.issuers, or leave it out"},
	{"exchange nowhere", "admin: ''\nexchange:\n  issuers: [" + githubIssuer + "labels: [{claims: {sub: a}, label: b}]}]", ":3: exchange.issuers: there is no address to ask at; set exchange.listen"},
	{"exchange of tokens that are off", "clients: {issued: off}\nexchange: {issuers: [" + githubIssuer + "labels: [{claims: {sub: a}, label: b}]}]}", ":2: exchange.issuers: clients.issued is off, so the tokens would let nobody in; set it to also or only"},
	{"exchange.ttl", "exchange: {ttl: 0s}", `:1: exchange.ttl: "0s" is not a time such as 1h or 30m, a second at least and a year at most`},
	{"exchange.listen", "exchange: {listen: x, issuers: [" + githubIssuer + "labels: [{claims: {sub: a}, label: b}]}]}", `:1: exchange.listen: "x" is not host:port, as in 127.0.0.1:8080, nor unix:/path`},
	{"issuer in clear", "exchange: {issuers: [{issuer: http://a.example}]}", `:1: exchange.issuers[0].issuer: "http://a.example" is not an https URL; write it as the tokens' claim iss has it`},
	{"keys in clear", "exchange: {issuers: [{issuer: https://a.example, keys_url: http://a.example}]}", `:1: exchange.issuers[0].keys_url: "http://a.example" is not an https URL`},
	{"no audience", "exchange: {issuers: [{issuer: https://a.example}]}", ":1: exchange.issuers[0].audience: it is missing: tokens that are meant for others would be taken; name one of this proxy's own, such as agentproxy"},
	{"the issuer as audience", "exchange: {issuers: [{issuer: https://a.example, audience: https://a.example}]}", ":1: exchange.issuers[0].audience: tokens for the issuer itself are credentials that no other should be shown; name one of this proxy's own, such as agentproxy"},
	{"outlive alone", "exchange: {issuers: [" + githubIssuer + "outlive: true}]}", ":1: exchange.issuers[0].outlive: whoever finds a token could use it again to stay; set single_use too, or leave it out"},
	{"issuer without labels", "exchange: {issuers: [" + githubIssuer + "labels: []}]}", ":1: exchange.issuers[0].labels: no token of the issuer would stand for a label; list claims and labels"},
	{"every token of an issuer", "exchange:\n  issuers:\n    - issuer: https://a.example\n      audience: a\n      labels:\n        - {claims: {sub: '*'}, label: b}", ":6: exchange.issuers[0].labels[0]: no claim is named with a value that it must have, so that every token of the issuer would do; name one, as in claims: {sub: …}"},
	{"label of a claim that is none", "exchange: {issuers: [" + githubIssuer + "labels: [{claims: {sub: a}, label: 'b{'}]}]}", `:1: exchange.issuers[0].labels[0]: label "b{": the name of a claim stands between { and }`},
	{"issuer again", "exchange: {issuers: [" + githubIssuer + "labels: [{claims: {sub: a}, label: b}]}, " + githubIssuer + "labels: [{claims: {sub: c}, label: d}]}]}", ":1: exchange.issuers[1].issuer: https://a.example is there already; put its labels together"},
	{"key of tokens that are off", "clients: {issued: off, issued_key_file: x}", ":1: clients.issued_key_file: clients.issued is off, so the key is not used; leave one of them out"},
	{"memory", "limits: {memory: 1000}", ":1: limits.memory: 1000 is too little for any client; give at least 16777216, or 0 for half of the memory limit of the process"},
	{"header_bytes", "limits: {header_bytes: 1}", ":1: limits.header_bytes: 1 is too few for any client; give at least 4096"},
	{"header_fields", "limits: {header_fields: 1}", ":1: limits.header_fields: 1 is too few for any client; give at least 20"},
	{"handshake_timeout", "limits: {handshake_timeout: 0s}", ":1: limits.handshake_timeout: 0s is too short for any client; give at least 1s"},
	{"idle_timeout", "limits: {idle_timeout: -5m}", ":1: limits.idle_timeout: -5m0s is too short for any client; give at least 1s"},
	{"no time", "limits: {idle_timeout: soon}", ":1: limits.idle_timeout: \"soon\" is not a time such as 30s or 5m"},
	{"time without a unit", "limits: {idle_timeout: 30}", ":1: limits.idle_timeout: \"30\" is not a time such as 30s or 5m"},
	{"log.level", "log: {level: trace}", `:1: log.level: "trace" is none of debug, info, warn, error, disabled`},
	{"log.format", "log: {format: xml}", `:1: log.format: "xml" is none of auto, console, json`},
	{"audit.on_failure", "audit:\n  file: a\n  on_failure: ignore", `:3: audit.on_failure: "ignore" is neither refuse nor continue`},
	{"audit.fsync", "audit: {fsync: often}", ":1: audit.fsync: it is text, but must be true or false" + seeExample},
	{"audit", "audit: /var/log/audit", ":1: audit: it is text, but must be a mapping" + seeExample},
	{"unknown key of the audit", "audit:\n  path: x", ":2: there is no key audit.path" + seeExample},
}

func TestConfigMistakes(t *testing.T) {
	t.Parallel()
	for _, test := range configMistakes {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := configtest.Write(t, test.config)
			var stdout, stderr strings.Builder
			code := run([]string{"sign", "--config", path}, configtest.Environment(nil), strings.NewReader(""), &stdout, &stderr)
			want := "agentproxy: " + path + strings.ReplaceAll(test.want, "$DIR", filepath.Dir(path)) + "\n"
			if diff := cmp.Diff(want, stderr.String()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if code != cli.ExitUsage || stdout.Len() > 0 {
				t.Errorf("exit code %d, standard output %q", code, stdout.String())
			}
			if strings.Contains(stderr.String(), "sekret") {
				t.Error("the message shows a secret")
			}
		})
	}
}
