//go:build linux

package integration

import "strings"

// hiddenRequest is one inside of another's body.
const hiddenRequest = "GET /hidden HTTP/1.1\r\nHost: chatgpt.com\r\nAuthorization: Bearer forged\r\n\r\n"

// oddRequests are requests that the proxy forwards in some form, and that
// parsers are known to differ about.
func oddRequests() (all []string) {
	head := func(lines ...string) string {
		return strings.Join(append([]string{"POST /odd HTTP/1.1", "Host: chatgpt.com"}, lines...), "\r\n") + "\r\n\r\n"
	}
	for _, target := range []string{
		"/", "//", "/a//b", "/a/../b", "/a/./b", "/a/%2e%2e/b", "/a%2Fb", "/a%5Cb", "/a;b=c/d", "/a?b", "/a?b?c=/../d", "/a??", "/%00", "/%0d%0aX:%20y",
		"/a%20b", "/%C3%BC", "/%ff", "/~a", "/a'b", "/a\"b", "/a<b>", "/a|b", "/a\\b", "/a^b", "/a`b", "/{a}", "/[a]", "/@a", "/:80/", "/http://evil.example/", "/%",
		"/%2", "/%zz", "/*", "/.", "/..", "/a/..", "/a/.", "/?", "/?a=%26&b=%3D", "/a#b", "*", "https://chatgpt.com", "https://chatgpt.com/x", "HTTPS://CHATGPT.COM:443/x",
		"https://chatgpt.com?x", "/" + strings.Repeat("a", 6000),
	} {
		all = append(all, "GET "+target+" HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n")
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		all = append(all,
			method+" /m HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n",
			method+" /m HTTP/1.1\r\nHost: chatgpt.com\r\nContent-Length: 5\r\n\r\nabcde",
			method+" /m HTTP/1.1\r\nHost: chatgpt.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
			method+" /m HTTP/1.0\r\nHost: chatgpt.com\r\nConnection: keep-alive\r\n\r\n",
		)
	}
	for _, host := range []string{"chatgpt.com", "chatgpt.com:443", "CHATGPT.com", " chatgpt.com ", "\tchatgpt.com"} {
		all = append(all, "GET /h HTTP/1.1\r\nHost:"+host+"\r\n\r\n", "GET https://chatgpt.com/h HTTP/1.1\r\nHost:"+host+"\r\n\r\n")
	}
	for _, field := range []string{
		"X-Empty:", "X-Empty: \t ", "X-Folded: a\r\n b", "X-Folded:\r\n\tb", "X-Latin: caf\xe9", "X-UTF-8: caf\xc3\xa9", "X-Quoted: \"a, b\"", "x_y: z", "X.Y: z", "X!#$%&'*+-.^_`|~: z",
		"X-Long: " + strings.Repeat("a", 6000), "Cookie: a=b\r\nCookie: c=d", "Accept: a\r\nAccept: b", "TE: trailers", "TE: gzip, trailers", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\nConnection: Upgrade, HTTP2-Settings",
		"Upgrade: websocket\r\nConnection: Upgrade", "Upgrade: TLS/1.0\r\nConnection: Upgrade", "Connection: close", "Connection: keep-alive", "Connection: Host", "Connection: Authorization", "Connection: Content-Length",
		"Connection: close, Transfer-Encoding", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Proxy-Authorization: Basic Zm9v", "Authorization: Bearer forged", "Authorization: Bearer a\r\nAuthorization: Bearer b",
		"Authorization_: x", "Host_: evil.example", "X-Forwarded-Host: evil.example", "X-Forwarded-For: 127.0.0.1", "Forwarded: host=evil.example", "X-Original-URL: /admin", "X-HTTP-Method-Override: DELETE", "Max-Forwards: 0", "Range: bytes=0-1", "If-None-Match: *",
		"Expect: 100-continue", "Content_Length: 3", "Transfer_Encoding: chunked", "Trailer: X-T", "Via: 1.0 x", "Content-Type: multipart/form-data; boundary=x", "Content-Encoding: gzip", "Origin-Trial: x", "Priority: u=1",
	} {
		all = append(all, head(field), head(field, "Content-Length: 5")+"abcde", head(field, "Transfer-Encoding: chunked")+"5\r\nabcde\r\n0\r\n\r\n")
	}
	for _, framing := range []string{
		"Content-Length: 0\r\n\r\n", "Content-Length: 00005\r\n\r\nabcde", "Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", "Content-Length: 5, 5\r\n\r\nabcde", "Content-Length:5\r\n\r\nabcde", "Content-Length:\t5 \r\n\r\nabcde",
		"Transfer-Encoding: Chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", "transfer-encoding:chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n5\r\nabcde\r\n0\r\n\r\n", "Content-Length: 70\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hiddenRequest,
		"Transfer-Encoding: chunked\r\n\r\n0005\r\nabcde\r\n000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d;e\"\r\nabcde\r\n0;f\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n5 \r\nabcde\r\n0\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n", "Transfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n5\r\nabcde\r\n0\r\nX-T: 1\r\n\r\n", "Transfer-Encoding: chunked\r\nTrailer: Authorization, Host, Content-Length\r\n\r\n0\r\nAuthorization: Bearer forged\r\nHost: evil.example\r\nContent-Length: 3\r\n\r\n",
		"Content-Length: 73\r\n\r\n" + hiddenRequest, "\r\n" + hiddenRequest, "Transfer-Encoding: chunked\r\n\r\n49\r\n" + hiddenRequest + "\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n",
		"Content-Length: 100000\r\n\r\n" + strings.Repeat("0\r\n\r\n", 20000),
	} {
		all = append(all, "POST /f HTTP/1.1\r\nHost: chatgpt.com\r\n"+framing)
	}
	return append(all,
		"\r\n\r\nGET /l HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", "GET /l HTTP/1.1\nHost: chatgpt.com\n\n", "GET /l HTTP/1.2\r\nHost: chatgpt.com\r\n\r\n", "GET /l HTTP/1.0\r\nHost: chatgpt.com\r\n\r\n", "POST /l HTTP/1.0\r\nHost: chatgpt.com\r\nContent-Length: 3\r\n\r\nabc",
		strings.Repeat("GET /p HTTP/1.1\r\nHost: chatgpt.com\r\n\r\n", 3),
	)
}
