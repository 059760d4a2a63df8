// Package tokenexchange is the command token exchange, which gets a workload a client
// token for a token of the platform that it runs on.
package tokenexchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/access/exchange"
	"github.com/agentproxy/agentproxy/proxy/upstream"
)

const (
	// timeout bounds the command, with all that it waits for.
	timeout = time.Minute
	// maxToken bounds the token of the platform, in bytes.
	maxToken = 64 << 10
)

// Command returns the command. A token is read from stdin where its file is "-".
func Command(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var address, file string
	cmd := &cobra.Command{
		Use:   "exchange --url URL --token-file FILE",
		Short: "Get a client token for the token of a Kubernetes pod or a CI job",
		Long: `Show the agentproxy at URL a token of the platform that this program runs on, and
print the client token that it gives for it: the password in the proxy's URL, for
the session label that its exchange.issuers says. The URL is that of
exchange.listen, or of the admin port. The token is good as long as the one that
was shown, and an hour at most by default.`,
		Example: `  agentproxy token exchange --url http://agentproxy:9081 --token-file /var/run/secrets/tokens/agentproxy`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			u, err := url.Parse(address)
			if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
				return cli.Usagef("--url %q is not the URL of an agentproxy, such as http://agentproxy:9081", address)
			}
			if file == "" {
				return cli.Usagef("--token-file is missing; name the file of the platform's token, or - for standard input")
			}
			token, err := read(file, stdin)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			given, err := exchange.Ask(ctx, client(), address, token)
			if unreached, ok := errors.AsType[*url.Error](err); ok {
				return fmt.Errorf("no client token from %s: %w; have --url name exchange.listen, or the admin port, of an agentproxy that runs", u.Host, unreached.Err)
			}
			if err != nil {
				return fmt.Errorf("no client token from %s: %w", u.Host, err)
			}
			fmt.Fprintln(stdout, given.Secret)
			fmt.Fprintf(stderr, "agentproxy: it is good for %s for %s\n", given.Label, given.Expires)
			return nil
		},
	}
	cmd.Flags().StringVar(&address, "url", "", "`URL` of exchange.listen, or of the admin port, of an agentproxy")
	cmd.Flags().StringVar(&file, "token-file", "", "`file` with the platform's token, or - for standard input")
	return cmd
}

// client returns a client that asks the named server itself: a proxy of the environment may
// be the one that the token is for.
func client() *http.Client {
	anywhere := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	return &http.Client{Transport: upstream.NewTransport(upstream.Config{AllowPrivate: anywhere}), CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("it leads elsewhere, where the token must not go; name the address of exchange.listen")
	}}
}

func read(file string, stdin io.Reader) (string, error) {
	var raw []byte
	var err error
	if file == "-" {
		raw, err = io.ReadAll(io.LimitReader(stdin, maxToken))
	} else {
		raw, err = safefile.Read(file, maxToken)
	}
	if err != nil {
		return "", fmt.Errorf("read the platform's token %s: %w", file, safefile.Cause(err))
	}
	token := strings.TrimSpace(string(raw))
	if token == "" {
		return "", fmt.Errorf("the platform's token %s is empty", file)
	}
	return token, nil
}
