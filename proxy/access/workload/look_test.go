package workload

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestLook(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	i.publish(edKey(t, "a"), edKey(t, "b"))
	issuer := Issuer{URL: i.URL, Transport: i.Client().Transport}
	got, err := Look(t.Context(), issuer)
	if err != nil || got.Keys != 2 || time.Since(got.Date).Abs() > time.Hour {
		t.Errorf("%+v, %v", got, err)
	}
	i.respond(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(strings.Repeat("x", 2*maxCause)))
	})
	if _, err := Look(t.Context(), issuer); err == nil || len(err.Error()) > maxCause+len("…") {
		t.Errorf("%v", err)
	}
	issuer.KeysURL = i.URL + "/keys"
	i.respond(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", "today")
		_, _ = w.Write([]byte(`{"keys":[]}`))
	})
	if _, err := Look(t.Context(), issuer); err == nil {
		t.Error("a set without keys is one")
	}
	i.respond(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Date"] = nil
		_, _ = w.Write([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}`))
	})
	if got, err := Look(t.Context(), issuer); err != nil || got != (Answer{Keys: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
}
