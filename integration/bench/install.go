//go:build linux

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"time"
)

// installMissing installs the rivals that are missing, if it may, and notes why
// one is not there.
func (b *bench) installMissing(ctx context.Context) {
	var packages []string
	for _, p := range b.programs {
		if !p.installed() {
			packages = append(packages, p.pkg)
		}
	}
	if len(packages) == 0 {
		return
	}
	err := errors.New("bench does not run as root, and so cannot install it")
	if os.Geteuid() == 0 {
		err = b.install(ctx, packages)
	}
	for _, p := range b.programs {
		if !p.installed() {
			p.missing = "not installed"
			b.logf("%s is not installed: %v; try apt-get install %s", p.name, err, p.pkg)
		}
	}
}

func (p *program) installed() bool {
	if p.command == "" {
		return true
	}
	_, err := exec.LookPath(p.command)
	return err == nil
}

// install installs packages. None of their services is started or enabled.
func (b *bench) install(ctx context.Context, packages []string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	b.logf("installing %v", packages)
	out, err := exec.CommandContext(ctx, "integration/clients/debian.sh", packages...).CombinedOutput()
	if err != nil {
		b.logf("integration/clients/debian.sh %v: %v\n%s", packages, err, out)
	}
	return err
}
