package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/clientenv"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/codexhome"
	"github.com/agentproxy/agentproxy/cmd/agentproxy/internal/config"
	"github.com/agentproxy/agentproxy/identity/codex"
	"github.com/agentproxy/agentproxy/internal/safefile"
	"github.com/agentproxy/agentproxy/proxy/audit"
	"github.com/agentproxy/agentproxy/proxy/usage"
)

// maxWideFiles bounds how many files of the state directory have lines of their own.
const maxWideFiles = 5

// checkState finds whether the state directory is this user's, and can be written.
func (k *checker) checkState() {
	const check = "state"
	dir := k.config.StateDir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		parent := existing(dir)
		if err := safefile.MayWriteIn(parent); err != nil {
			k.fail(check, k.set("set state_dir to a directory that can be made"), "%s is not there, and cannot be made: %s: %s", dir, parent, safefile.Cause(err))
			return
		}
		k.ok(check, "%s is not there yet; agentproxy serve and run make it", dir)
		return
	case err != nil:
		k.fail(check, k.set("set state_dir to a directory that this user may use"), "%s: %s", dir, safefile.Cause(err))
		return
	case !info.IsDir():
		k.fail(check, k.set("set state_dir to a directory"), "%s is not a directory", dir)
		return
	}
	if uid, ok := safefile.OwnerOf(info); ok && int(uid) != os.Geteuid() {
		command := fmt.Sprintf("sudo -u '#%d' %s", uid, k.own("check"))
		if os.Geteuid() == 0 {
			k.warn(check, remedy{"act as that user", command}, "%s is of user %d, who cannot read what root makes there", dir, uid)
		} else {
			k.fail(check, remedy{"act as that user, or set state_dir", command}, "%s is of user %d, and this is user %d", dir, uid, os.Geteuid())
		}
	}
	if err := safefile.CheckMode(dir, info, safefile.OthersWrite); err != nil {
		e, _ := errors.AsType[*safefile.ModeError](err)
		k.fail(check, do(k.chmod(check, e)), "others may write to %s (mode %04o)", dir, e.Perm)
	}
	if err := safefile.MayWriteIn(dir); err != nil {
		r := k.set("make it writable, or set state_dir to a directory that is")
		if isFull(err) {
			r = do("df -h " + quote(dir))
		}
		k.fail(check, r, "%s: %s: no task, refresh or CA can be kept there", dir, safefile.Cause(err))
	}
	k.checkStateFiles(dir)
	k.checkLeftovers(dir)
	if !k.found(check) {
		k.ok(check, "%s", dir)
	}
}

// existing returns the nearest directory above path that is there.
func existing(path string) string {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(dir); err == nil || dir == filepath.Dir(dir) {
			return dir
		}
	}
}

// found reports whether a check has found anything so far.
func (k *checker) found(check string) bool {
	return slices.ContainsFunc(k.findings, func(f Finding) bool { return f.Check == check })
}

// checkStateFiles finds files with secrets that others may read, and files of others.
func (k *checker) checkStateFiles(dir string) {
	wide, command := 0, k.chmod
	if info, err := os.Stat(dir); err != nil || !isOwn(dir, info) {
		// Its owner can have any file appear in it.
		command = func(_ string, e *safefile.ModeError) string { return "chmod " + e.Chmod + " " + quote(e.Path) }
	}
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil // what uses the file will tell
		}
		if entry.IsDir() {
			if name := entry.Name(); path != dir && filepath.Dir(path) == dir && (name == "homes" || name == "run") {
				return fs.SkipDir // Codex's own files, and those of runs
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
			return nil
		}
		if path == k.config.Audit.File || path == k.config.Usage.File {
			return nil // it has a check of its own
		}
		if err := safefile.CheckMode(path, info, tooWide(path)); err != nil {
			e, _ := errors.AsType[*safefile.ModeError](err)
			if wide++; wide <= maxWideFiles {
				k.fail("state", do(command("state", e)), "others may read or write %s (mode %04o)", path, e.Perm)
			} else {
				command("state", e) // mended all the same
			}
		}
		return nil
	})
	if wide > maxWideFiles {
		k.fail("state", do(k.own("check", "--fix")), "others may read or write %d more files in %s", wide-maxWideFiles, dir)
	}
}

// tooWide returns the permissions that a file of the state directory must not have.
func tooWide(path string) fs.FileMode {
	name := filepath.Base(path)
	if strings.HasSuffix(name, ".pem") && !strings.HasSuffix(name, "-key.pem") {
		return safefile.OthersWrite // certificates, which programs of others trust
	}
	return safefile.BeyondOwner
}

// checkLeftovers finds what killed runs have left.
func (k *checker) checkLeftovers(dir string) {
	if n := clientenv.DeadRuns(dir, false); n > 0 {
		k.warn("state", do(k.own("check", "--fix")), "%s has the files of %s", filepath.Join(dir, "run"), count(n, "run that was killed", "runs that were killed"))
		k.repair("state", func() (string, error) {
			return "removed the files of " + count(clientenv.DeadRuns(dir, true), "killed run", "killed runs"), nil
		})
	}
	home := k.config.Agent.Identity.CodexHome
	if found, _ := codexhome.FindStub(dir, home, codex.IsPlaceholder, false); !found {
		return
	}
	auth := filepath.Join(home, "auth.json")
	k.warn("Codex home", do(k.own("check", "--fix")), "%s is the placeholder of a run that was killed", auth)
	k.repair("Codex home", func() (string, error) {
		_, err := codexhome.FindStub(dir, home, codex.IsPlaceholder, true)
		return "removed " + auth + ", the placeholder of a killed run", err
	})
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// checkFiles finds whether the audit log and the usage file can be written.
func (k *checker) checkFiles() {
	if path := k.config.Audit.File; path != "" {
		goesOn := ""
		if k.config.Audit.OnFailure == config.AuditContinue {
			goesOn = "requests go on without it"
		}
		k.checkFile("audit", path, audit.FileConfig{Path: path}.Check(), goesOn)
	}
	if path := k.config.Usage.File; path != "" {
		k.checkFile("usage", path, usage.CheckFile(path), "requests go on, and are not noted")
	}
}

// checkFile tells whether the file at path can be appended to: err says why not. goesOn is
// what happens while the disk is full, "" if requests are refused.
func (k *checker) checkFile(check, path string, err error, goesOn string) {
	switch {
	case err == nil:
		k.ok(check, "%s can be appended to", path)
	case goesOn != "" && isFull(err):
		k.warn(check, k.fileRemedy(check, err, path), "%s; %s", err, goesOn)
	default:
		k.fail(check, k.fileRemedy(check, err, path), "%s", err)
	}
}

// fileRemedy returns the command for a file that cannot be appended to.
func (k *checker) fileRemedy(check string, err error, path string) remedy {
	if e, ok := errors.AsType[*safefile.ModeError](err); ok {
		return do(k.chmod(check, e))
	}
	if isFull(err) {
		return do("df -h " + quote(existing(path)))
	}
	if dir := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) {
		return do("mkdir -p " + quote(dir))
	}
	return do(k.edit())
}

// isFull reports whether err says that a disk is full.
func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) }
