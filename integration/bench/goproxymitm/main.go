// Command goproxymitm is goproxy as its README shows it: it intercepts every
// CONNECT with the library's defaults and sets a header. It serves as a measure.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/elazarl/goproxy"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`address` to listen on")
	ca := flag.String("ca", "", "`file` with the certificates that servers are trusted for")
	token := flag.String("token", "", "the Bearer `token` that requests get")
	flag.Parse()
	if err := serve(*listen, *ca, *token); err != nil {
		fmt.Fprintln(os.Stderr, "goproxymitm:", err)
		os.Exit(1)
	}
}

func serve(listen, ca, token string) error {
	certificates, err := os.ReadFile(ca)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certificates) {
		return errors.New(ca + ": no certificate in it")
	}
	proxy := goproxy.NewProxyHttpServer()
	// The one thing besides the defaults, which would verify nothing.
	proxy.Tr.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	proxy.OnRequest().HandleConnect(goproxy.AlwaysMitm)
	proxy.OnRequest().DoFunc(func(r *http.Request, _ *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		r.Header.Set("Authorization", "Bearer "+token)
		return r, nil
	})
	server := &http.Server{Addr: listen, Handler: proxy, ReadHeaderTimeout: time.Minute}
	return server.ListenAndServe()
}
