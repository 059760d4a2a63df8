package checks

import (
	"net/http"

	"github.com/agentproxy/agentproxy/proxy/internal/refuse"
)

// Protocol refuses a client whose first byte is that of another protocol than HTTP. The answer
// is in that protocol. The client would wait for one, and the proxy for the end of a header.
func Protocol(first byte) (answer []byte, refused *refuse.Refusal) {
	var spoken, remedy string
	switch first {
	case 0x16: // a handshake record (RFC 8446, section 5.1)
		spoken, remedy = "TLS", "write http:// and not https:// in the proxy's URL"
		answer = []byte{21, 3, 1, 0, 2, 2, 70} // a fatal alert, protocol_version
	case 5: // RFC 1928, section 3
		spoken, remedy = "SOCKS5", "write http:// and not socks5:// in the proxy's URL"
		answer = []byte{5, 0xff} // no acceptable method
	case 4:
		spoken, remedy = "SOCKS4", "write http:// and not socks4:// in the proxy's URL"
		answer = []byte{0, 91, 0, 0, 0, 0, 0, 0} // rejected
	default:
		return nil, nil
	}
	return answer, refuse.New(http.StatusBadRequest, "not_http", "", "a client speaks %s to the proxy, which takes HTTP; %s", spoken, remedy)
}
