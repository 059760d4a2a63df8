//go:build linux

package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// image is what a container is made of.
type containerImage struct {
	root       string // its files
	env        map[string]string
	user       string // uid:gid
	entrypoint []string
	cmd        []string
	health     []string
}

// instruction is one of a Dockerfile.
type instruction struct{ name, rest string }

// dockerfile reads the instructions of the Dockerfile.
func dockerfile() (all []instruction, err error) {
	raw, err := os.ReadFile(filepath.Join("..", "Dockerfile"))
	if err != nil {
		return nil, err
	}
	text := ""
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		text += strings.TrimSuffix(line, "\\")
		if strings.HasSuffix(line, "\\") {
			continue
		}
		name, rest, _ := strings.Cut(text, " ")
		all = append(all, instruction{name, rest})
		text = ""
	}
	return all, nil
}

// theImage is the image that the Dockerfile builds. There being no engine here,
// its instructions are carried out one by one: those of the first stage on a copy
// of this machine's files, which has Go as the image that it names has.
var theImage = sync.OnceValues(func() (*containerImage, error) {
	instructions, err := dockerfile()
	if err != nil {
		return nil, err
	}
	root := filepath.Join(filepath.Dir(agentproxy), "image")
	context := filepath.Join(filepath.Dir(agentproxy), "context")
	if err := copyContext(context); err != nil {
		return nil, err
	}
	img := &containerImage{root: root, env: make(map[string]string)}
	script, err := img.build(instructions, context)
	if err != nil {
		return nil, err
	}
	out, err := exec.Command("unshare", "--mount", "--", "bash", "-c", script).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("build the image: %w\n%s\n%s", err, script, out)
	}
	return img, nil
})

// copyContext copies what .dockerignore leaves of the sources.
func copyContext(to string) error {
	raw, err := os.ReadFile(filepath.Join("..", ".dockerignore"))
	if err != nil {
		return err
	}
	everything := false
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		name, kept := strings.CutPrefix(line, "!")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case line == "*":
			everything = true
		case !kept || !everything || strings.ContainsAny(name, "*?["):
			return fmt.Errorf(".dockerignore: %q is not understood here", line)
		default:
			if err := os.MkdirAll(filepath.Join(to, filepath.Dir(name)), 0o755); err != nil {
				return err
			}
			if out, err := exec.Command("cp", "-a", filepath.Join("..", name), filepath.Join(to, name)).CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
		}
	}
	return nil
}

// build returns the shell script that carries the instructions out.
func (img *containerImage) build(instructions []instruction, context string) (string, error) {
	scratch := filepath.Join(filepath.Dir(img.root), "stage")
	stage := scratch + "/root"
	settings, err := exec.Command("go", "env", "GOROOT", "GOMODCACHE", "GOCACHE", "GOPROXY", "GOSUMDB").Output()
	if err != nil {
		return "", err
	}
	goEnv := strings.Split(string(settings), "\n")
	script := []string{
		"set -euo pipefail",
		"mkdir -p " + scratch + " && mount -t tmpfs tmpfs " + scratch,
		"mkdir " + scratch + "/upper " + scratch + "/work " + stage,
		fmt.Sprintf("mount -t overlay overlay -o lowerdir=/,upperdir=%[1]s/upper,workdir=%[1]s/work %[2]s", scratch, stage),
		"mount --bind /dev " + stage + "/dev && mount -t proc proc " + stage + "/proc",
	}
	for _, cache := range goEnv[1:3] {
		script = append(script, "mkdir -p "+cache+" && mount --bind "+cache+" "+stage+cache)
	}
	environ := fmt.Sprintf("PATH=%s/bin:%s HOME=%s GOMODCACHE=%s GOCACHE=%s GOPROXY=%s GOSUMDB=%s",
		goEnv[0], systemPath, os.Getenv("HOME"), goEnv[1], goEnv[2], goEnv[3], goEnv[4])
	at, workdir := stage, "/"
	for _, i := range instructions {
		words := strings.Fields(i.rest)
		switch i.name {
		case "FROM":
			at = stage
			if words[0] == "scratch" {
				at = img.root
				script = append(script, "mkdir "+at)
			} else if !strings.HasPrefix(words[0], "golang:") {
				return "", fmt.Errorf("FROM %s: there is no such image here", i.rest)
			}
		case "WORKDIR":
			workdir = words[0]
			script = append(script, "mkdir -p "+at+workdir)
		case "ARG":
			name, value, _ := strings.Cut(i.rest, "=")
			environ += " " + name + "=" + value
		case "RUN":
			script = append(script, "chroot "+at+" env -i "+environ+" sh -c "+quote("cd "+workdir+" && "+i.rest))
		case "COPY":
			script = append(script, copyLine(words, stage, context, at, workdir))
		case "ENV":
			name, value, _ := strings.Cut(i.rest, "=")
			img.env[name] = value
		case "USER":
			img.user = i.rest
		case "ENTRYPOINT":
			err = json.Unmarshal([]byte(i.rest), &img.entrypoint)
		case "CMD":
			err = json.Unmarshal([]byte(i.rest), &img.cmd)
		case "HEALTHCHECK":
			_, command, _ := strings.Cut(i.rest, " CMD ")
			err = json.Unmarshal([]byte(command), &img.health)
		case "LABEL", "EXPOSE":
		default:
			err = fmt.Errorf("%s is not understood here", i.name)
		}
		if err != nil {
			return "", fmt.Errorf("%s %s: %w", i.name, i.rest, err)
		}
	}
	return strings.Join(script, "\n"), nil
}

// copyLine copies as COPY does: what is copied is root's unless it says otherwise,
// and of a directory the content.
func copyLine(words []string, stage, context, at, workdir string) string {
	from, owner := context+"/", "0:0"
	for strings.HasPrefix(words[0], "--") {
		option, value, _ := strings.Cut(words[0], "=")
		switch option {
		case "--from":
			from = stage
		case "--chown":
			owner = value
		}
		words = words[1:]
	}
	to := words[len(words)-1]
	if !strings.HasPrefix(to, "/") {
		to = workdir + "/" + to
	}
	var lines []string
	for _, source := range words[:len(words)-1] {
		source, target := filepath.Clean(from+source), at+to
		lines = append(lines, fmt.Sprintf(`if [ -d %[1]s ]; then mkdir -p %[2]s; for entry in %[1]s/*; do cp -a $entry %[2]s/; chown -R %[3]s %[2]s/$(basename $entry); done; else mkdir -p "$(dirname %[2]sx)"; cp -a %[1]s %[2]s; fi`, source, target, owner))
		if strings.HasSuffix(to, "/") {
			target += filepath.Base(source)
		}
		lines = append(lines, fmt.Sprintf("[ -d %s ] || chown %s %s", source, owner, target))
	}
	return strings.Join(lines, "\n")
}

// TestImage runs the image as it is meant to be run: as its user, with a root
// directory that nobody can write to, a volume for what is kept, and no shell.
func TestImage(t *testing.T) {
	t.Parallel()
	if !needRoot(t) {
		return
	}
	img, err := theImage()
	if err != nil {
		t.Fatal(err)
	}
	if img.user != "65532:65532" {
		t.Errorf("the image's user is %s", img.user)
	}
	files := run(t, baseEnv(t), systemProgram(t, "find"), img.root, "-mindepth", "1", "-printf", "%P %M %U:%G\n").stdout
	want := `agentproxy -rwxr-xr-x 0:0
etc drwxr-xr-x 0:0
etc/group -rw-r--r-- 0:0
etc/passwd -rw-r--r-- 0:0
etc/ssl drwxr-xr-x 0:0
etc/ssl/certs drwxr-xr-x 0:0
etc/ssl/certs/ca-certificates.crt -rw-r--r-- 0:0
shared drwxr-xr-x 65532:65532
var drwxr-xr-x 65532:65532
var/lib drwxr-xr-x 65532:65532
var/lib/agentproxy drwx------ 65532:65532
`
	lines := strings.SplitAfter(files, "\n")
	slices.Sort(lines)
	if got := strings.Join(lines, ""); got != want {
		t.Errorf("the image holds\n%swant\n%s", got, want)
	}
	linked := run(t, baseEnv(t), systemProgram(t, "ldd"), filepath.Join(img.root, "agentproxy"))
	if !strings.Contains(linked.stdout+linked.stderr, "not a dynamic executable") {
		t.Errorf("the program needs libraries: %s", linked.stdout)
	}

	network := newNetwork(t)
	f, upstream := newInternet(t, network)
	config := t.TempDir()
	upstream.write(t, config, "")
	f.giveIdentity(t, filepath.Join(config, "identity.json"))
	c := newContainer(t, img, sandbox{network: network, uid: containerUser})
	c.bind(t, config, "/etc/agentproxy", true)
	c.env["AGENTPROXY_CONFIG"] = "/etc/agentproxy/config.yaml"
	for _, volume := range []string{"/var/lib/agentproxy", "/shared"} { // which begin as the image has them
		c.bind(t, filepath.Join(c.box.root, volume), volume, false)
	}
	if r := c.run(t, img.health...); r.code == 0 {
		t.Error("it is healthy before it runs")
	}
	f.start(t, c.environ(), c.argv(t, slices.Concat(img.entrypoint, img.cmd)...)...)
	for _, args := range [][]string{img.health, {"/agentproxy", "ca", "export", "--bundle", "--output", "/shared/bundle.pem"}, {"/agentproxy", "check"}, {"/agentproxy", "version"}} {
		if r := c.run(t, args...); r.code != 0 {
			t.Errorf("%q: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	// There is no /tmp.
	if r := c.run(t, "/agentproxy", "demo"); r.code != 0 || !strings.Contains(r.stdout, "backend   verified the assertion of agent ") {
		t.Errorf("demo: exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	// A file that somebody writes beats what the image says.
	writeFile(t, filepath.Join(config, "elsewhere.yaml"), []byte("state_dir: /shared/state\n"))
	if err := os.Chmod(filepath.Join(config, "elsewhere.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"config.yaml": "/var/lib/agentproxy", "elsewhere.yaml": "/shared/state", "none": "/var/lib/agentproxy"} {
		if file != "none" {
			file = "/etc/agentproxy/" + file
		}
		if r := c.run(t, "/agentproxy", "config", "show", "--config", file); r.code != 0 || !strings.Contains(r.stdout, "\nstate_dir: "+want+" ") {
			t.Errorf("%s: exit code %d, not %s\n%s%s", file, r.code, want, r.stdout, r.stderr)
		}
	}
	if r := c.run(t, "/agentproxy", "ca", "export", "--output", "/bundle.pem"); r.code != 1 || !strings.Contains(r.stderr, "read-only file system") {
		t.Errorf("the root directory can be written to: %s%s", r.stdout, r.stderr)
	}
}
