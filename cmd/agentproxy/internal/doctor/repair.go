package doctor

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/agentproxy/agentproxy/internal/safefile"
)

// repair mends something that a check found.
type repair struct {
	check string
	// mend returns what it did.
	mend func() (string, error)
}

// repair notes how to mend what a check has found.
func (k *checker) repair(check string, mend func() (string, error)) {
	k.repairs = append(k.repairs, repair{check, mend})
}

// chmod notes that the mode of a file of this user can be mended, and returns the command.
func (k *checker) chmod(check string, e *safefile.ModeError) string {
	if info, err := os.Stat(e.Path); err == nil && isOwn(e.Path, info) && !slices.Contains(k.mending, e.Path) {
		k.mending = append(k.mending, e.Path)
		tooWide := safefile.BeyondOwner
		if info.IsDir() || strings.HasPrefix(e.Chmod, "644") {
			tooWide = safefile.OthersWrite
		}
		k.repair(check, func() (string, error) {
			before, after, err := safefile.Narrow(e.Path, info, tooWide)
			return fmt.Sprintf("set the mode of %s to %04o, which was %04o", e.Path, after, before), err
		})
	}
	return "chmod " + e.Chmod + " " + quote(e.Path)
}

// isOwn reports whether the file at path, which info describes, is this user's, and no link
// that leads there is of somebody else, who could have it lead to any file.
func isOwn(path string, info fs.FileInfo) bool {
	uid, ok := safefile.OwnerOf(info)
	return ok && int(uid) == os.Geteuid() && !safefile.FollowsForeignLink(path, uid)
}

// maxRepairs bounds the rounds of repairs. There may be more to mend once the configuration
// can be used.
const maxRepairs = 3

// Repair makes all checks, mends what is safe to mend, and makes the checks again. It changes
// modes of this user's own files, makes a CA where there is none, and removes what killed
// runs have left. It changes neither the content of the log-in nor anything that the backend
// keeps.
func Repair(ctx context.Context, o Options) Report {
	var done []Finding
	for range maxRepairs {
		k := &checker{options: o, env: o.Env}
		k.check(ctx)
		if len(k.repairs) == 0 {
			return Report{append(done, k.findings...), k.broken}
		}
		failed := false
		for _, r := range k.repairs {
			f := Finding{Check: r.check, Status: Fixed}
			var err error
			if f.Message, err = r.mend(); err != nil {
				f = Finding{Check: r.check, Status: Failed, Message: fmt.Sprintf("not mended: %s", err), Command: k.own("check")}
				failed = true
			}
			done = append(done, f)
		}
		if failed {
			break // it would fail again
		}
	}
	report := Check(ctx, o)
	report.Findings = append(done, report.Findings...)
	return report
}
