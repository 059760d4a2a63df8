package clientenv

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
)

// listenTimeout bounds the question whether somebody listens.
const listenTimeout = time.Second

// Names returns the names of the variables that [Env] sets.
func Names() (names []string) {
	for _, v := range (Env{}).Variables() {
		names = append(names, v.Name)
	}
	return names
}

// PrintOptions say how variables are printed.
type PrintOptions struct {
	Shell  string // whose syntax is used, "" for that of the shell that reads it
	Format string // shell, dotenv or json
	Unset  bool   // what takes the variables away
}

// Print prints the variables of the environment that open returns, which is not called to
// take variables away.
func Print(out io.Writer, o PrintOptions, env cli.Environment, open func() (Env, error)) error {
	switch {
	case o.Format != "shell" && o.Format != "dotenv" && o.Format != "json":
		return cli.Usagef("--format %s: it is none of shell, dotenv, json", o.Format)
	case o.Format != "shell" && o.Shell != "":
		return cli.Usagef("--shell and --format %s exclude each other: each is a way to write the variables", o.Format)
	case o.Format != "shell" && o.Unset:
		return cli.Usagef("--unset and --format %s exclude each other: only a shell takes variables away", o.Format)
	}
	shell, err := o.shell(env)
	if err != nil {
		return err
	}
	if o.Unset {
		for _, name := range Names() {
			fmt.Fprintln(out, shell.Unset(name))
		}
		return nil
	}
	e, err := open()
	if err != nil {
		return err
	}
	text := ""
	switch o.Format {
	case "dotenv":
		text = Dotenv(e.Variables())
	case "json":
		if text, err = JSON(e.Variables()); err != nil {
			return err
		}
	default:
		for _, v := range e.Variables() {
			text += shell.Set(v) + "\n"
		}
	}
	_, err = io.WriteString(out, text)
	return err
}

// shell returns the syntax to print.
func (o PrintOptions) shell(env cli.Environment) (Shell, error) {
	name := o.Shell
	if name == "" {
		name = detectShell(parentName(), env)
	}
	shell, ok := FindShell(name)
	names := strings.Join(ShellNames, ", ")
	switch {
	case ok || o.Format != "shell":
		return shell, nil
	case o.Shell != "":
		return shell, cli.Usagef("--shell %s: it is none of %s", name, names)
	}
	return shell, cli.Usagef("the syntax of %s is not known; name another with --shell: %s", name, names)
}

// Dotenv returns variables in the form of .env files that docker, Compose, Node, Python and
// sh read alike: values are in quotes only where they must be.
func Dotenv(vars []Variable) string {
	var b strings.Builder
	for _, v := range vars {
		value := v.Value
		switch {
		case plain.MatchString(value):
		case !strings.Contains(value, "'"):
			value = "'" + value + "'"
		default:
			value = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(value) + `"`
		}
		fmt.Fprintf(&b, "%s=%s\n", v.Name, value)
	}
	return b.String()
}

// plain matches a value that has nothing that any reader of .env files could take for
// something else.
var plain = regexp.MustCompile(`^[a-zA-Z0-9_+.,:/@%=-]*$`)

// JSON returns variables as a JSON object, in their order.
func JSON(vars []Variable) (string, error) {
	var b strings.Builder
	b.WriteString("{")
	for i, v := range vars {
		var value bytes.Buffer
		enc := json.NewEncoder(&value)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v.Value); err != nil {
			return "", err
		}
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "\n  %q: %s", v.Name, bytes.TrimSpace(value.Bytes()))
	}
	return b.String() + "\n}\n", nil
}

// Listens reports whether somebody listens where the variables lead, and the address.
func (e Env) Listens() (address string, ok bool) {
	u, err := url.Parse(e.proxyURL)
	if err != nil {
		return e.proxyURL, false
	}
	conn, err := net.DialTimeout("tcp", u.Host, listenTimeout)
	if err != nil {
		return u.Host, false
	}
	_ = conn.Close()
	return u.Host, true
}
