// Command copyproxy answers CONNECT with a tunnel that copies through a buffer
// in user space, where agentproxy leaves the copying to the kernel. It serves as
// a measure.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "`address` to listen on")
	flag.Parse()
	l, err := net.Listen("tcp", *listen)
	for err == nil {
		var client net.Conn
		if client, err = l.Accept(); err == nil {
			go tunnel(client)
		}
	}
	fmt.Fprintln(os.Stderr, "copyproxy:", err)
	os.Exit(1)
}

func tunnel(client net.Conn) {
	defer client.Close()
	r, err := http.ReadRequest(bufio.NewReader(client))
	if err != nil || r.Method != http.MethodConnect {
		return
	}
	server, err := net.Dial("tcp", r.Host)
	if err != nil {
		return
	}
	defer server.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(plain{server}, plain{client})
		server.Close()
	}()
	_, _ = io.Copy(plain{client}, plain{server})
}

// plain hides that a connection can splice. io.Copy then copies through a buffer
// of 32 KiB.
type plain struct{ io.ReadWriter }
