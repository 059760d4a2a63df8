package certs_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/agentproxy/agentproxy/certs"
)

func prepare(t testing.TB, cfg certs.Config) *certs.Authority {
	t.Helper()
	a, err := certs.Prepare(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func rotate(t testing.TB, cfg certs.Config) *certs.Authority {
	t.Helper()
	a, err := certs.Rotate(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// A client that was given both certificates works with the proxy before it is
// rotated, with one that was not restarted, and with the new one.
func TestRotationOverlaps(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	former := open(t, cfg)
	old := former.PEM()
	a := prepare(t, cfg)
	if a.Fingerprint() != former.Fingerprint() {
		t.Error("the CA changed before the rotation")
	}
	both := a.PEM()
	if n := bytes.Count(both, []byte("BEGIN CERTIFICATE")); n != 2 || bytes.Contains(both, []byte("KEY")) {
		t.Fatalf("PEM while prepared: %s", both)
	}
	if !bytes.Equal(a.Bundle(certs.ParseRoots(old)), both) {
		t.Error("the bundle has not exactly both")
	}
	if info, err := os.Stat(filepath.Join(cfg.Dir, "next-key.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("next-key.pem: %v, %v", info.Mode(), err)
	}

	// To prepare again, or to start, changes nothing that clients were given.
	if again := prepare(t, cfg); !bytes.Equal(again.PEM(), both) || !bytes.Equal(open(t, cfg).PEM(), both) {
		t.Error("another CA was prepared")
	}

	next := rotate(t, cfg)
	if !a.Next().Equal(next.Certificate()) || next.Next() != nil {
		t.Error("it was not the prepared CA that was put in place")
	}
	for name, test := range map[string]struct {
		bundle []byte
		with   *certs.Authority
		want   bool
	}{
		"both, running": {both, former, true}, "both, new": {both, next, true},
		"old, new": {old, next, false}, "new, running": {next.PEM(), former, false},
	} {
		if got := verify(t, test.bundle, test.with, "chatgpt.com") == nil; got != test.want {
			t.Errorf("%s: trusted %t", name, got)
		}
	}
	if got := strings.Join(names(t, cfg.Dir), " "); strings.Contains(got, "next") {
		t.Errorf("left in the directory: %s", got)
	}
	if third := rotate(t, cfg); third.Fingerprint() == next.Fingerprint() {
		t.Error("a rotation without preparation changed nothing")
	}
}

// After a theft no CA that the thief may have the key of is put in place.
func TestDiscard(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	open(t, cfg)
	stolen := prepare(t, cfg).Next()
	if err := certs.Discard(cfg); err != nil {
		t.Fatal(err)
	}
	if a := open(t, cfg); a.Next() != nil || len(names(t, cfg.Dir)) != 3 {
		t.Errorf("left: %v", names(t, cfg.Dir))
	}
	if a := rotate(t, cfg); a.Certificate().Equal(stolen) {
		t.Error("the discarded CA is in place")
	}
	if err := certs.Discard(cfg); err != nil {
		t.Errorf("nothing to discard: %v", err)
	}
}

// Killed at any step of a rotation, a process leaves a directory in which the
// clients that trust the prepared CA work: with it, or with the former one.
func TestKilledWhileActivating(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		done func(at func(string) string, key, cert []byte) error
	}{
		"retired": {func(at func(string) string, _, _ []byte) error { return os.Rename(at("ca.pem"), at("ca-1.pem")) }},
		"key written": {func(at func(string) string, key, _ []byte) error {
			return errors.Join(os.Rename(at("ca.pem"), at("ca-1.pem")), os.WriteFile(at("ca-key.pem"), key, 0o600))
		}},
		"both written": {func(at func(string) string, key, cert []byte) error {
			return errors.Join(os.WriteFile(at("ca-key.pem"), key, 0o600), os.WriteFile(at("ca.pem"), cert, 0o644))
		}},
		"certificate discarded": {func(at func(string) string, key, cert []byte) error {
			return errors.Join(os.WriteFile(at("ca-key.pem"), key, 0o600), os.WriteFile(at("ca.pem"), cert, 0o644), os.Remove(at("next.pem")))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			open(t, cfg)
			want := certs.Fingerprint(prepare(t, cfg).Next())
			at := func(name string) string { return filepath.Join(cfg.Dir, name) }
			if err := test.done(at, read(t, at("next-key.pem")), read(t, at("next.pem"))); err != nil {
				t.Fatal(err)
			}
			a := open(t, cfg)
			if a.Fingerprint() != want || a.Next() != nil {
				t.Errorf("CA %s, want the prepared one; next %v", a.Fingerprint(), a.Next())
			}
			if name == "certificate discarded" {
				return // nothing tells that a rotation was under way
			}
			if again := rotate(t, cfg); name == "both written" && again.Fingerprint() != want {
				t.Error("the rotation that was repeated made another CA")
			}
			if got := strings.Join(names(t, cfg.Dir), " "); strings.Contains(got, "next") {
				t.Errorf("left in the directory: %s", got)
			}
		})
	}
}

// A prepared CA that cannot be used is not put in place, nor is another in its
// stead, which no client knows.
func TestBrokenPrepared(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(t *testing.T, cfg *certs.Config, at func(string) string)
		want   string
	}{
		"no key":   {func(t *testing.T, _ *certs.Config, at func(string) string) { os.Remove(at("next-key.pem")) }, "next-key.pem: no such file"},
		"wide key": {func(t *testing.T, _ *certs.Config, at func(string) string) { os.Chmod(at("next-key.pem"), 0o644) }, "permissions 0644 are too wide"},
		"other key": {func(t *testing.T, _ *certs.Config, at func(string) string) {
			write(t, at("next-key.pem"), p256Key(t, nil), 0o600)
		}, "next-key.pem: not the key of "},
		"other host": {func(_ *testing.T, cfg *certs.Config, _ func(string) string) { cfg.Hosts = []string{"other.example"} }, "do not cover other.example"},
		"expired": {func(_ *testing.T, cfg *certs.Config, _ func(string) string) {
			cfg.Now = func() time.Time { return time.Now().AddDate(11, 0, 0) }
		}, "expired on"},
		"no PEM": {func(t *testing.T, _ *certs.Config, at func(string) string) {
			write(t, at("next.pem"), []byte("x"), 0o644)
		}, "not PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := config(t)
			open(t, cfg)
			prepare(t, cfg)
			test.damage(t, &cfg, func(name string) string { return filepath.Join(cfg.Dir, name) })
			before := snapshot(t, cfg.Dir)
			_, err := certs.Rotate(cfg)
			if err == nil || !strings.Contains(err.Error(), "next") || !strings.Contains(err.Error(), test.want) ||
				!strings.HasSuffix(err.Error(), "or run: agentproxy ca rotate --discard") || strings.Contains(err.Error(), "\n") {
				t.Errorf("Rotate: %v", err)
			}
			if snapshot(t, cfg.Dir) != before {
				t.Error("the directory changed")
			}
			if err := certs.Discard(cfg); err != nil {
				t.Fatal(err)
			}
			if _, err := certs.Rotate(cfg); err != nil {
				t.Errorf("the remedy does not help: %v", err)
			}
		})
	}
}

func TestPrepareNeedsAuthority(t *testing.T) {
	t.Parallel()
	cfg := config(t)
	if _, err := certs.Prepare(cfg); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(cfg.Dir); err == nil {
		t.Error("a directory was made")
	}
}
