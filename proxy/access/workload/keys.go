package workload

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// fresh is how old keys may be before they are fetched again: a key that the issuer has
	// withdrawn is good for as long. stale is how old they may be if that fails.
	fresh = 10 * time.Minute
	stale = 6 * time.Hour
	// fetchPause is the least time between two fetches. Anybody can cause one, with a token
	// that names a key which is not known.
	fetchPause = 10 * time.Second
	// maxKeys bounds the keys of an issuer, and minRSA an RSA key from below, in bits.
	maxKeys = 64
	minRSA  = 2048
)

// keys are the keys of one issuer.
type keys struct {
	fetch func(ctx context.Context) ([]byte, error)
	now   func() time.Time

	fetching sync.Mutex // held by the one who fetches

	mu    sync.Mutex
	set   []jose.JSONWebKey // nil: none were fetched yet
	at    time.Time         // when set was fetched
	tried time.Time         // when a fetch was begun last, whatever came of it
	why   error             // the last fetch failed
}

// verify returns the payload of signed, if a key of the issuer has signed it.
func (k *keys) verify(ctx context.Context, signed *jose.JSONWebSignature) ([]byte, *Error) {
	asked := k.now()
	set, at, refused := k.current(ctx)
	if refused != nil {
		return nil, refused
	}
	candidates := matching(set, signed)
	if len(candidates) == 0 && at.Before(asked) {
		// The issuer may have a new key.
		if set, refused = k.since(ctx, asked); refused != nil {
			return nil, refused
		}
		candidates = matching(set, signed)
	}
	for i := range candidates {
		if payload, err := signed.Verify(&candidates[i]); err == nil {
			return payload, nil
		}
	}
	return nil, refusef(BadSignature, "the issuer has not signed the token, or it was altered")
}

// matching returns the keys that may have signed.
func matching(set []jose.JSONWebKey, signed *jose.JSONWebSignature) (found []jose.JSONWebKey) {
	header := signed.Signatures[0].Protected
	for _, key := range set {
		if (header.KeyID == "" || key.KeyID == header.KeyID) && (key.Algorithm == "" || key.Algorithm == header.Algorithm) {
			found = append(found, key)
		}
	}
	return found
}

// current returns the keys and when they were fetched. It fetches them if they are old.
func (k *keys) current(ctx context.Context) (set []jose.JSONWebKey, at time.Time, refused *Error) {
	set, at, wait := k.state()
	age := k.now().Sub(at).Abs()
	if set != nil && age < fresh {
		return set, at, nil
	}
	if set != nil && age < stale {
		// Whoever comes meanwhile goes on with what there is.
		if wait > 0 || !k.fetching.TryLock() {
			return set, at, nil
		}
	} else {
		k.fetching.Lock()
	}
	k.refresh(ctx)
	k.fetching.Unlock()
	if set, at, wait = k.state(); set == nil || k.now().Sub(at).Abs() >= stale {
		return nil, at, k.unavailable(wait, "the issuer's keys cannot be fetched at the moment; try again")
	}
	return set, at, nil
}

// since returns keys that were fetched at a time or later.
func (k *keys) since(ctx context.Context, asked time.Time) ([]jose.JSONWebKey, *Error) {
	k.fetching.Lock()
	if _, at, _ := k.state(); at.Before(asked) {
		k.refresh(ctx)
	}
	k.fetching.Unlock()
	set, at, wait := k.state()
	if at.Before(asked) {
		return nil, k.unavailable(wait, "the key that signed the token is not known yet; try again")
	}
	return set, nil
}

// state returns the keys, when they were fetched, and how long none may be fetched.
func (k *keys) state() (set []jose.JSONWebKey, at time.Time, wait time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.tried.IsZero() {
		wait = max(0, fetchPause-k.now().Sub(k.tried).Abs())
	}
	return k.set, k.at, wait
}

// refresh fetches the keys, unless that was tried a moment ago. The caller holds
// k.fetching.
func (k *keys) refresh(ctx context.Context) {
	k.mu.Lock()
	now := k.now()
	if !k.tried.IsZero() && now.Sub(k.tried).Abs() < fetchPause {
		k.mu.Unlock()
		return
	}
	k.tried = now
	k.mu.Unlock()
	// It is for all who wait, and not for the first alone.
	raw, err := k.fetch(context.WithoutCancel(ctx))
	var set []jose.JSONWebKey
	if err == nil {
		set, err = parseKeys(raw)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.why = err
	if err == nil {
		k.set, k.at = set, now
	}
}

func (k *keys) unavailable(wait time.Duration, message string) *Error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return &Error{Code: Unavailable, Message: message, RetryAfter: max(time.Second, wait), Cause: k.why}
}

// parseKeys returns the keys of a set (RFC 7517, section 5) that can have signed a token. It
// passes over others, as the RFC asks.
func parseKeys(raw []byte) ([]jose.JSONWebKey, error) {
	var document struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(raw, &document) != nil { // whose error might quote it
		return nil, errors.New("the answer is no set of keys")
	}
	if len(document.Keys) > maxKeys {
		return nil, fmt.Errorf("the answer has %d keys, more than %d", len(document.Keys), maxKeys)
	}
	set := []jose.JSONWebKey{}
	for _, one := range document.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(one) == nil && usable(key) {
			set = append(set, key)
		}
	}
	if len(set) == 0 {
		return nil, errors.New("the answer has no key that could have signed a token")
	}
	return set, nil
}

// usable reports whether key is a public one for signatures.
func usable(key jose.JSONWebKey) bool {
	if key.Use != "" && key.Use != "sig" {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minRSA
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false // private, or one that both sides have
}
