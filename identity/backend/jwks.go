package backend

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/agentproxy/agentproxy/identity"
)

// The audience and the issuer of a JWT that is an agent identity.
const (
	identityAudience = "codex-app-server"
	identityIssuer   = "https://chatgpt.com/codex-backend/agent-identity"
)

// ErrUnverified says that a JWT does not prove who has issued it.
var ErrUnverified = errors.New("its JWT cannot be trusted")

// VerifyJWT checks that a record that came as a JWT was issued by the backend for agents,
// and has not expired. The JWT must be signed (RS256) by a key of the backend's key set.
// A record of another shape needs no such proof: the error is nil.
func (b *Client) VerifyJWT(ctx context.Context, r *identity.Record) error {
	if r.JWT == "" {
		return nil
	}
	raw, err := b.keySet(ctx)
	if err != nil {
		return err
	}
	keys, err := parseKeySet(raw)
	if err != nil {
		return fmt.Errorf("the key set of agent identities: %w", err)
	}
	_, err = jwt.Parse(r.JWT.Reveal(), func(token *jwt.Token) (any, error) {
		id, _ := token.Header["kid"].(string)
		if key, ok := keys[id]; ok {
			return key, nil
		}
		return nil, errors.New("it is signed with a key that the backend does not name")
	},
		jwt.WithValidMethods([]string{jwt.SigningMethodRS256.Alg()}),
		jwt.WithAudience(identityAudience),
		jwt.WithIssuer(identityIssuer),
		jwt.WithExpirationRequired(),
		jwt.WithTimeFunc(b.config.Clock.Backend),
	)
	if err != nil {
		return fmt.Errorf("agent identity %q: %w: %w", r.AgentRuntimeID, ErrUnverified, err)
	}
	return nil
}

// keySetTimeout bounds the request for the key set, as in Codex.
const keySetTimeout = 10 * time.Second

// keySet returns the JSON Web Key Set (RFC 7517) that JWTs of identities are verified
// with.
func (b *Client) keySet(ctx context.Context) (_ []byte, err error) {
	defer b.observe(OperationKeySet, &err)
	_, raw, err := b.do(ctx, call{
		doing: "read the key set of agent identities", method: http.MethodGet,
		url: keySetURL(b.config.Overrides.JWKSURL), timeout: keySetTimeout,
	})
	return raw, err
}

const (
	minRSABits = 2048  // the least that RFC 7518, 3.3 allows for RS256
	maxRSABits = 16384 // more would take long to verify
)

// parseKeySet reads the RSA keys of a JSON Web Key Set (RFC 7517).
func parseKeySet(raw []byte) (map[string]*rsa.PublicKey, error) {
	var set struct {
		Keys []struct {
			Type string `json:"kty"`
			ID   string `json:"kid"`
			Use  string `json:"use"`
			N    string `json:"n"`
			E    string `json:"e"`
		} `json:"keys"`
	}
	if json.Unmarshal(raw, &set) != nil {
		return nil, errors.New("not a JSON Web Key Set")
	}
	keys := make(map[string]*rsa.PublicKey)
	for _, k := range set.Keys {
		if k.Type != "RSA" || k.Use != "" && k.Use != "sig" {
			continue
		}
		n, errN := base64.RawURLEncoding.DecodeString(k.N)
		e, errE := base64.RawURLEncoding.DecodeString(k.E)
		modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
		if errN != nil || errE != nil || modulus.BitLen() < minRSABits || modulus.BitLen() > maxRSABits ||
			!exponent.IsInt64() || exponent.Int64() < 3 || exponent.Int64() > 1<<31-1 {
			return nil, fmt.Errorf("key %.40q is not an RSA key of %d to %d bits", k.ID, minRSABits, maxRSABits)
		}
		keys[k.ID] = &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}
	}
	if len(keys) == 0 {
		return nil, errors.New("it holds no RSA key")
	}
	return keys, nil
}
