package signer

import "context"

// Auto signs with First, and with Fallback where First cannot. Without a
// Fallback First's refusal stands.
type Auto struct {
	First    Signer
	Fallback Signer // nil: refuse
}

var _ Renewer = Auto{}

// Sign implements [Signer]. If neither can sign, the error is First's, for it
// names what was wanted, with Fallback's reason behind it.
func (a Auto) Sign(ctx context.Context, r Request) (*Authorization, error) {
	auth, err := a.First.Sign(ctx, r)
	if err == nil || a.Fallback == nil {
		return auth, err
	}
	auth, fallbackErr := a.Fallback.Sign(ctx, r)
	if fallbackErr == nil {
		return auth, nil
	}
	if fallbackErr.Error() == err.Error() {
		return nil, err
	}
	code := CodeOf(err)
	return nil, &Error{Code: code, Message: err.Error() + "; nor with a Bearer token: " + fallbackErr.Error(), Err: err}
}

// Renew implements [Renewer], with the signer that has made what was refused,
// and with Fallback where First has nothing else to offer.
func (a Auto) Renew(ctx context.Context, r Request, refused *Authorization) (*Authorization, error) {
	if refused.Scheme != SchemeAssertion {
		if a.Fallback == nil {
			return nil, errNotRenewable
		}
		return renew(ctx, a.Fallback, r, refused)
	}
	auth, err := renew(ctx, a.First, r, refused)
	if err != nil && a.Fallback != nil {
		return a.Fallback.Sign(ctx, r)
	}
	return auth, err
}
