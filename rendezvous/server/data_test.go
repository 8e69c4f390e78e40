package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestHomeOfAPersonIsNoDataDirectory: its lock file has the name of ours, and serving from it would lock the person out.
func TestHomeOfAPersonIsNoDataDirectory(t *testing.T) {
	for _, files := range [][]string{{"lock", "home.json", "keystore.age"}, {"notes.txt"}} {
		dir := filepath.Join(t.TempDir(), "home")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := checkOurs(dir); err == nil {
			t.Errorf("a directory with %v was taken", files)
		} else if _, ok := errors.AsType[*SetupError](err); !ok {
			t.Errorf("got %v, want a setup error", err)
		}
	}
	if err := checkOurs(t.TempDir()); err != nil {
		t.Errorf("an empty directory: %v", err)
	}
}

// TestKilledWhileItWroteItsFirstFile: what a killed rendezvous has left is neither somebody else's nor kept.
func TestKilledWhileItWroteItsFirstFile(t *testing.T) {
	dir := t.TempDir()
	left := filepath.Join(dir, unfinished+"1234")
	for _, name := range []string{left, filepath.Join(dir, lockFile)} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := openData(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := d.hostKey(); err != nil {
		t.Error(err)
	}
}
