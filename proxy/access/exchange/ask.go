package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/agentproxy/agentproxy/proxy/access"
)

const (
	// tries is how often a token is asked for if the proxy says to come again, and
	// maxPause how long it is waited for that at most.
	tries    = 4
	maxPause = 15 * time.Second
	// maxAnswer bounds the answer, in bytes.
	maxAnswer = 64 << 10
)

// Token is a client token that was given.
type Token struct {
	Secret  string
	Label   string
	Expires time.Duration // from now on
}

// Ask asks the proxy at address, such as http://agentproxy:9081, for a client token for
// a token of the platform. It asks again if the proxy says when.
func Ask(ctx context.Context, client *http.Client, address, token string) (Token, error) {
	form := url.Values{"grant_type": {grantType}, "subject_token_type": {typeJWT}, "subject_token": {token}}.Encode()
	for try := 1; ; try++ {
		given, pause, err := ask(ctx, client, strings.TrimSuffix(address, "/")+Path, form)
		if err == nil || pause == 0 || try == tries {
			return given, err
		}
		timer := time.NewTimer(min(pause, maxPause))
		select {
		case <-ctx.Done():
			timer.Stop()
			return Token{}, err
		case <-timer.C:
		}
	}
}

// ask asks once. pause is when to ask again after an error, 0: never.
func ask(ctx context.Context, client *http.Client, address, form string) (given Token, pause time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form))
	if err != nil {
		return given, 0, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		return given, time.Second, err
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return given, time.Second, err
	}
	var body struct {
		answer
		Description string `json:"error_description"`
	}
	decoded := json.Unmarshal(raw, &body) == nil
	// What is no token might control a terminal, or be several lines in the place of one.
	if response.StatusCode == http.StatusOK && decoded && access.IsToken(body.AccessToken) && access.CheckLabel(body.Label) == "" {
		return Token{body.AccessToken, body.Label, time.Duration(body.ExpiresIn) * time.Second}, 0, nil
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		pause = time.Duration(seconds) * time.Second
	}
	if decoded && body.Description != "" {
		return given, pause, errors.New(body.Description)
	}
	return given, pause, fmt.Errorf("%s answered %s, which is not an answer of agentproxy; name the address of exchange.listen", address, response.Status)
}
