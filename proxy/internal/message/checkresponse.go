package message

import (
	"net/http"
	"strconv"
)

// CheckResponse returns an error for a response that net/http accepts from a server,
// but would panic at or change when it is sent on.
func CheckResponse(res *http.Response) error {
	if res.StatusCode < 100 || res.StatusCode > 999 {
		return Errorf("the server's status %d is not valid", res.StatusCode)
	}
	// HTTP/2 does not use the length, so that nobody has checked it.
	if lengths := res.Header["Content-Length"]; lengths != nil {
		if _, err := strconv.ParseUint(lengths[0], 10, 63); err != nil || len(lengths) > 1 {
			return Errorf("the server's Content-Length is not valid")
		}
	}
	return nil
}
