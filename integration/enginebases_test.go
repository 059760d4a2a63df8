//go:build linux && engines

package integration

import (
	"path/filepath"
	"strings"
	"testing"
)

// No image can be had from a registry here. What would come from one is put
// together of this machine's files, as archives that engines import.

// copyPrograms is a shell function that copies programs of the system and their
// libraries below a directory.
const copyPrograms = `
copy_programs() {
  root=$1; shift
  mkdir -p "$root"/{bin,usr/bin,tmp,etc/ssl/certs} && chmod 1777 "$root/tmp"
  for name; do
    program=$(type -P "$name")
    cp -L "$program" "$root/usr/bin/$name"
    ln -sf "../usr/bin/$name" "$root/bin/$name"
    for library in $(ldd "$program" 2>/dev/null | grep -o '/[^ ]*'); do
      mkdir -p "$root$(dirname "$library")" && cp -nL "$library" "$root$library"
    done
  done
}
`

// goBase makes what the Dockerfile builds in: Go, make and git, like the image
// golang, and the modules that the network would give it.
func (e *engine) goBase(t *testing.T, sources string) (archive string) {
	t.Helper()
	archive = filepath.Join(e.dir, "golang.tar")
	e.run(t, sources, "set -eu\n"+copyPrograms+strings.NewReplacer("@ROOT@", filepath.Join(e.dir, "golang"), "@GO@", goProgram(t), "@MODULES@", goEnv(t, "GOMODCACHE"), "@PROXY@", goEnv(t, "GOPROXY"), "@ARCHIVE@", archive).Replace(`
copy_programs @ROOT@ sh bash make git mkdir chmod chown echo date cat rm id env sed uname dirname
cp -L /etc/ssl/certs/ca-certificates.crt @ROOT@/etc/ssl/certs/
mkdir -p @ROOT@/usr/local @ROOT@/go && cp -a "$(@GO@ env GOROOT)" @ROOT@/usr/local/go
export GOMODCACHE=@MODULES@ GOPROXY=@PROXY@
@GO@ mod download
GOPROXY=file://@MODULES@/cache/download GOSUMDB=off GOMODCACHE=@ROOT@/modules @GO@ mod download -modcacherw
mv @ROOT@/modules/cache/download @ROOT@/go/proxy && rm -rf @ROOT@/modules
tar -C @ROOT@ -cf @ARCHIVE@ . && rm -rf @ROOT@
`))
	return archive
}

func goProgram(t *testing.T) string {
	t.Helper()
	return filepath.Join(goEnv(t, "GOROOT"), "bin", "go")
}

// goImage are the settings of the image golang.
const goImage = `--change 'ENV PATH=/usr/local/go/bin:/usr/bin:/bin' --change 'ENV GOPATH=/go GOTOOLCHAIN=local GOPROXY=file:///go/proxy GOSUMDB=off'`

// imageArchive returns the arguments by which the image is imported as another
// test builds it.
func (e *engine) imageArchive(t *testing.T) string {
	t.Helper()
	image, err := theImage()
	if err != nil {
		t.Fatal(err)
	}
	list := func(words []string) string { return `["` + strings.Join(words, `", "`) + `"]` }
	var arguments strings.Builder
	for name, value := range image.env {
		arguments.WriteString("--change " + quote("ENV "+name+"="+value) + " ")
	}
	for _, change := range []string{"USER " + image.user, "ENTRYPOINT " + list(image.entrypoint), "CMD " + list(image.cmd)} {
		arguments.WriteString("--change " + quote(change) + " ")
	}
	archive := filepath.Join(e.dir, "image.tar")
	e.run(t, e.dir, "tar -C "+image.root+" -cf "+archive+" .")
	return arguments.String() + archive
}

// agentBase makes an agent: Codex, curl and a shell, and nothing of agentproxy's.
func (e *engine) agentBase(t *testing.T) (archive string) {
	t.Helper()
	archive = filepath.Join(e.dir, "agent.tar")
	e.run(t, e.dir, "set -eu\n"+copyPrograms+strings.NewReplacer("@ROOT@", filepath.Join(e.dir, "agent"), "@CODEX@", npmProgram(t, codexVersions[len(codexVersions)-1].path), "@ARCHIVE@", archive).Replace(`
copy_programs @ROOT@ sh bash cat curl find id ls
cp @CODEX@ @ROOT@/usr/bin/codex
tar -C @ROOT@ -cf @ARCHIVE@ . && rm -rf @ROOT@
`))
	return archive
}

// agentChange are the settings of the agent's image.
func agentChange() string {
	return `--change 'ENV PATH=/usr/bin:/bin' --change 'CMD ["codex", "` + strings.Join(codexExec(codexQuiet...), `", "`) + `"]'`
}
