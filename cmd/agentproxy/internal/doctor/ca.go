package doctor

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/certs"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/cli"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
	"github.com/agentproxy/agentproxy/internal/safefile"
)

// OnlyServers says how a CA of this version differs from one of an earlier version.
const OnlyServers = "good for TLS servers alone, whoever steals its key"

// caExpiryWarning is how long before its expiry a CA leads to a warning.
const caExpiryWarning = 30 * 24 * time.Hour

func (k *checker) checkCA() {
	const check = "CA"
	rotate := k.own("ca", "rotate")
	ca, err := certs.Load(k.app.CAConfig())
	if errors.Is(err, fs.ErrNotExist) {
		conf := k.app.CAConfig()
		k.repair(check, func() (string, error) {
			ca, err := certs.Open(conf)
			if err != nil {
				return "", err
			}
			return "made " + ca.Path(), nil
		})
		k.warn(check, remedy{"agentproxy serve and run make one", k.own("check", "--fix")}, "none in %s yet", k.app.CAConfig().Dir)
		return
	}
	if e, ok := errors.AsType[*safefile.ModeError](err); ok {
		k.fail(check, do(k.chmod(check, e)), "%s", err)
		return
	}
	if err != nil {
		command := "ls -ld " + quote(k.app.CAConfig().Dir)
		if strings.Contains(err.Error(), "agentproxy ca rotate") {
			command = rotate
		}
		k.fail(check, do(command), "%s", err)
		return
	}
	end := ca.Certificate().NotAfter
	switch left := end.Sub(k.app.Now()); {
	case left < 0:
		k.fail(check, do(rotate), "%s expired at %s, and no client trusts it any more", ca.Path(), end.UTC().Format(time.RFC3339))
	case left < caExpiryWarning:
		k.warn(check, do(rotate), "%s expires at %s", ca.Path(), end.UTC().Format(time.RFC3339))
	case !ca.OnlyServers():
		k.warn(check, remedy{"give what it prepares to all clients, then rotate", k.own("ca", "rotate", "--prepare")}, "%s is of an earlier version; a new one is %s", ca.Path(), OnlyServers)
	default:
		k.ok(check, "%s, good until %s", ca.Path(), end.UTC().Format(time.DateOnly))
	}
	k.checkTrust(ca)
}

// checkTrust finds whether programs started from this shell would trust the CA.
func (k *checker) checkTrust(ca *certs.Authority) {
	const check = "CA trust"
	bySystem := certs.SystemTrusts(ca.Certificate())
	if bySystem {
		k.checkSystemStore(ca)
	}
	var trusting, ignorant []string
	here, _ := k.leads()
	for _, name := range slices.Concat(clientenv.BundleVariables, clientenv.ExtraCAVariables) {
		file := k.env.Get(name)
		if file == "" {
			continue
		}
		holds, err := holdsCA(file, ca)
		switch {
		case err != nil:
			k.warn(check, k.remedyShell(), "%s names %s, which cannot be read: %s; programs that go by it trust no server", name, file, safefile.Cause(err))
		case holds:
			trusting = append(trusting, name)
		case len(here) > 0:
			ignorant = append(ignorant, name)
		}
	}
	switch {
	case len(ignorant) > 0:
		k.warn(check, k.remedyShell(), "the file of %s lacks the CA: programs that go by it refuse the proxy's certificates", strings.Join(ignorant, ", "))
	case len(trusting) > 0:
		k.ok(check, "in this shell, by %s", strings.Join(trusting, ", "))
	case !bySystem && len(here) > 0:
		k.warn(check, k.remedyShell(), "no variable of this shell makes programs trust the CA, and so they refuse the proxy's certificates")
	}
}

// checkSystemStore finds whether the system's store, which holds the CA, also holds a
// prepared one and no former one.
func (k *checker) checkSystemStore(ca *certs.Authority) {
	const check = "CA trust"
	install := k.own("ca", "install")
	_, former, err := certs.Certificates(k.app.CAConfig().Dir)
	switch next := ca.Next(); {
	case err != nil:
		k.warn(check, do(k.own("ca", "show")), "%s", err)
	case next != nil && !certs.SystemTrusts(next):
		k.warn(check, remedy{"before agentproxy ca rotate", install}, "the system's store holds the CA, but not the one that is to follow")
	case slices.ContainsFunc(former, certs.SystemTrusts):
		k.warn(check, remedy{"it takes that out", install}, "the system's store holds the CA, and still a former one")
	default:
		k.ok(check, "the system's store holds the CA")
	}
}

func holdsCA(file string, ca *certs.Authority) (bool, error) {
	raw, err := cli.ReadFile(file)
	if err != nil {
		return false, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	_, err = ca.Certificate().Verify(x509.VerifyOptions{Roots: pool})
	return err == nil, nil
}
