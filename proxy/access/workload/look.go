package workload

import (
	"context"
	"net/http"
	"time"
)

// Answer is what an issuer answers to whoever asks for its keys.
type Answer struct {
	Keys int       // those that can have signed a token
	Date time.Time // by the clock of its server, zero if that does not say
}

// Look asks an issuer for its keys, as a [Checker] does when a token of it is shown. It
// takes five seconds at most.
func Look(ctx context.Context, i Issuer) (Answer, error) {
	f := newFetcher(i)
	raw, err := f.keys(ctx)
	if err != nil {
		return Answer{}, err
	}
	set, err := parseKeys(raw)
	if err != nil {
		return Answer{}, err
	}
	date, _ := http.ParseTime(f.date)
	return Answer{len(set), date}, nil
}
