package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access/workload"
	"github.com/agentproxy/agentproxy/proxy/upstream"
)

// checkExchange asks the issuers of workloads' tokens for their keys, all at once. The
// proxy asks when a token of theirs is shown first.
func (k *checker) checkExchange(ctx context.Context) {
	issuers := k.app.Issuers()
	answers, errs := make([]workload.Answer, len(issuers)), make([]error, len(issuers))
	now := make([]time.Time, len(issuers))
	var asking sync.WaitGroup
	for n, i := range issuers {
		asking.Go(func() {
			answers[n], errs[n] = workload.Look(ctx, i)
			now[n] = k.app.Now()
		})
	}
	asking.Wait()
	for n, i := range issuers {
		k.judgeIssuer(i, answers[n], errs[n], now[n])
	}
}

// judgeIssuer tells what came of asking an issuer for its keys. now is when it answered.
func (k *checker) judgeIssuer(i workload.Issuer, answer workload.Answer, err error, now time.Time) {
	const check = "exchange"
	if err != nil {
		k.fail(check, k.remedyIssuer(i, err), "the keys of %s cannot be fetched, so its tokens are not taken: %s", i.URL, causeOf(err))
		return
	}
	if answer.Date.IsZero() {
		k.ok(check, "%s answers; its keys: %d; it does not say what time it is", i.URL, answer.Keys)
		return
	}
	switch ahead := now.Sub(answer.Date).Round(time.Second); {
	case ahead < -workload.MaxSkew:
		k.fail(check, do(setClock()), "this machine's clock is %s behind that of %s, so that its tokens are not taken yet", -ahead, i.URL)
	case ahead > workload.MaxSkew:
		k.warn(check, do(setClock()), "this machine's clock is %s ahead of that of %s, whose tokens end as much too early", ahead, i.URL)
	default:
		k.ok(check, "%s answers; its keys: %d; its clock agrees", i.URL, answer.Keys)
	}
}

// causeOf returns why keys cannot be fetched, without the URL, which the finding has.
func causeOf(err error) string {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err.Error()
	}
	return strings.TrimRight(err.Error(), ": ") // an answer with no words
}

// remedyIssuer returns what to do if an issuer's keys cannot be fetched for the reason err.
func (k *checker) remedyIssuer(i workload.Issuer, err error) remedy {
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	_, private := errors.AsType[*upstream.PrivateAddressError](err)
	_, atProxy := errors.AsType[*upstream.ProxyError](err)
	switch text := err.Error(); {
	case unverified, private:
		return k.set("set ca_file of the issuer to the CA of its servers")
	case atProxy:
		return k.set("see that upstream.proxy is right")
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return do(k.edit()) // the error says what to set
	case strings.Contains(text, "401 "), strings.Contains(text, "403 "):
		return k.set("name a file with a token that may read the keys in token_file of the issuer")
	}
	at := cmp.Or(i.KeysURL, strings.TrimSuffix(i.URL, "/")+"/.well-known/openid-configuration")
	return do("curl -v " + quote(at))
}
