package proxy

import (
	"net/http"
	"testing"
)

func TestCheckRequestLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, uri string
		status      int // 0 where it is well-formed
	}{
		{"GET", "/", 0},
		{"OPTIONS", "*", 0},
		{"GET", "*", http.StatusBadRequest},
		{"POST", "*", http.StatusBadRequest},
		{"GET", "/*", 0},
		{"GET", "/a b", http.StatusBadRequest},
		{"GET", "/a\x7f", http.StatusBadRequest},
		{"G T", "/", http.StatusBadRequest},
		{"", "/", http.StatusBadRequest},
	} {
		status := 0
		if refused := checkRequestLine(test.method, test.uri); refused != nil {
			status = refused.Status
		}
		if status != test.status {
			t.Errorf("%q %q: %d, want %d", test.method, test.uri, status, test.status)
		}
	}
}
