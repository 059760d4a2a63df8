//go:build linux

package main

import (
	"context"
	"errors"
	"io/fs"
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

// policyFile tells Debian's packages whether to start what they install.
const policyFile = "/usr/sbin/policy-rc.d"

// install installs packages, without starting any service.
func (b *bench) install(ctx context.Context, packages []string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	policy, err := os.OpenFile(policyFile, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	switch {
	case errors.Is(err, fs.ErrExist): // somebody has decided already
	case err != nil:
		return err
	default:
		defer os.Remove(policyFile)
		_, err = policy.WriteString("#!/bin/sh\nexit 101\n")
		if err := errors.Join(err, policy.Close()); err != nil {
			return err
		}
	}
	b.logf("installing %v", packages)
	if err := b.apt(ctx, "update", "-qq"); err != nil {
		return err
	}
	return b.apt(ctx, append([]string{"install", "-y", "-qq", "--no-install-recommends"}, packages...)...)
}

func (b *bench) apt(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.logf("apt-get %v: %v\n%s", args, err, out)
	}
	return err
}
