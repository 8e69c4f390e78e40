package identity_test

import (
	"bytes"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/byway-chat/byway/crypto/identity"
	"github.com/byway-chat/byway/crypto/identity/identitytest"
)

func decodeAll(text []byte) []*pem.Block {
	var blocks []*pem.Block
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return blocks
		}
		blocks, text = append(blocks, block), rest
	}
}

// sameKeyring compares by export: everything that a key file holds.
func sameKeyring(t *testing.T, got, want *identity.Keyring) {
	t.Helper()
	a, err := got.ExportPEM()
	if err != nil {
		t.Fatal(err)
	}
	b, err := want.ExportPEM()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("the keys came back changed")
	}
}

// rotated is a keyring with several encryption keys.
func rotated() *identity.Keyring {
	k := identitytest.Keyring(0)
	k.Encryption = append(k.Encryption, identitytest.Keyring(1).Encryption[0], identitytest.Keyring(2).Encryption[0])
	return k
}

func TestKeyFile(t *testing.T) {
	passphrase := []byte("correct horse battery staple")
	for name, pass := range map[string][]byte{"sealed": passphrase, "in the clear": nil} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keystore.age")
			k := rotated()
			if err := identity.CreateKeyFile(path, k, pass); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(path)
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			got, err := identity.OpenKeyFile(path, pass)
			if err != nil {
				t.Fatal(err)
			}
			sameKeyring(t, got, k)
			if needs, err := identity.KeyFileNeedsPassphrase(path); err != nil || needs != (pass != nil) {
				t.Errorf("needs passphrase: %v, %v", needs, err)
			}
			if err := identity.CreateKeyFile(path, identitytest.Keyring(1), pass); !errors.Is(err, fs.ErrExist) {
				t.Errorf("overwriting: %v", err)
			}
			if err := identity.ReplaceKeyFile(path, identitytest.Keyring(1), nil); err != nil {
				t.Fatal(err)
			}
			got, err = identity.OpenKeyFile(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			sameKeyring(t, got, identitytest.Keyring(1))
			if left, _ := filepath.Glob(path + "?*"); len(left) != 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func TestKeyFilePassphrase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keystore.age")
	if err := identity.CreateKeyFile(path, identitytest.Keyring(0), []byte{}); err == nil {
		t.Error("an empty passphrase was taken")
	}
	if err := identity.CreateKeyFile(path, identitytest.Keyring(0), []byte("right")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name       string
		passphrase []byte
		want       error
	}{
		{"none", nil, identity.ErrPassphraseNeeded},
		{"empty", []byte{}, identity.ErrWrongPassphrase},
		{"wrong", []byte("wrong"), identity.ErrWrongPassphrase},
		{"right", []byte("right"), nil},
	}
	for _, tc := range tests {
		if _, err := identity.OpenKeyFile(path, tc.passphrase); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
}

// cheapSeal is what CreateKeyFile writes, with a work factor that a table of damages can afford.
func cheapSeal(t *testing.T, plain []byte, workFactor int) []byte {
	t.Helper()
	recipient, err := age.NewScryptRecipient("right")
	if err != nil {
		t.Fatal(err)
	}
	recipient.SetWorkFactor(workFactor)
	var out bytes.Buffer
	w, err := age.Encrypt(&out, recipient)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestDamagedKeyFile(t *testing.T) {
	plain, err := identitytest.Keyring(0).ExportPEM()
	if err != nil {
		t.Fatal(err)
	}
	sealed := cheapSeal(t, plain, 4)
	if _, err := openBytes(t, sealed, 0o600); err != nil {
		t.Fatalf("before any damage: %v", err)
	}
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	tooDear := bytes.Replace(sealed, []byte(" 4\n"), []byte(" 30\n"), 1)
	other := bytes.Replace(sealed, []byte("-> scrypt"), []byte("-> X25519"), 1)
	mac := bytes.Index(sealed, []byte("\n---"))
	tests := map[string][]byte{
		"empty":                        {},
		"not a key file":               []byte("hello\n"),
		"cut in the header":            sealed[:40],
		"cut in the body":              sealed[:len(sealed)-100],
		"only the header":              sealed[:mac+48],
		"flipped header tag":           flip(sealed, mac+10),
		"flipped body":                 flip(sealed, len(sealed)/2),
		"flipped end":                  flip(sealed, len(sealed)-1),
		"trailing byte":                append(bytes.Clone(sealed), 0),
		"work factor out of bounds":    tooDear,
		"sealed to somebody else":      other,
		"over the size limit":          append(bytes.Clone(sealed), make([]byte, 100<<10)...),
		"sealed, but no keys":          cheapSeal(t, []byte("hello"), 4),
		"sealed, cut keys":             cheapSeal(t, plain[:len(plain)-60], 4),
		"in the clear, cut":            plain[:len(plain)/2],
		"in the clear, trailing block": append(bytes.Clone(plain), plain...),
	}
	for name, content := range tests {
		if _, err := openBytes(t, content, 0o600); !errors.Is(err, identity.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", name, err)
		}
	}
}

func openBytes(t *testing.T, content []byte, mode fs.FileMode) (*identity.Keyring, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "keystore.age")
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return identity.OpenKeyFile(path, []byte("right"))
}

func TestKeyFileOpenToOthers(t *testing.T) {
	plain, err := identitytest.Keyring(0).ExportPEM()
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o620, 0o601, 0o666} {
		if _, err := openBytes(t, plain, mode); !errors.Is(err, identity.ErrOpenToOthers) {
			t.Errorf("mode %#o: %v", mode, err)
		}
	}
	if _, err := openBytes(t, plain, 0o400); err != nil {
		t.Errorf("mode 0400: %v", err)
	}
}

func TestKeyFilePaths(t *testing.T) {
	dir := t.TempDir()
	if _, err := identity.OpenKeyFile(filepath.Join(dir, "none"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := identity.KeyFileNeedsPassphrase(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	path := filepath.Join(dir, "noise")
	if err := os.WriteFile(path, []byte("noise"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.KeyFileNeedsPassphrase(path); !errors.Is(err, identity.ErrDamaged) {
		t.Errorf("noise: %v", err)
	}
	if err := identity.CreateKeyFile(filepath.Join(dir, "no", "dir"), identitytest.Keyring(0), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	// What a crash left under the temporary name is no obstacle.
	path = filepath.Join(dir, "keys")
	if err := os.WriteFile(path+".tmp", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := identity.CreateKeyFile(path, identitytest.Keyring(0), nil); err != nil {
		t.Fatal(err)
	}
	// A dangling link under the name counts as a file: nothing is written through it.
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "elsewhere"), link); err != nil {
		t.Fatal(err)
	}
	if err := identity.CreateKeyFile(link, identitytest.Keyring(0), nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("link: %v", err)
	}
}

func TestExportPEM(t *testing.T) {
	k := rotated()
	text, err := k.ExportPEM()
	if err != nil {
		t.Fatal(err)
	}
	got, err := identity.ImportPEM(text)
	if err != nil {
		t.Fatal(err)
	}
	sameKeyring(t, got, k)
	if !got.Encryption[2].Created().Equal(k.Encryption[2].Created()) || got.Encryption[0].Created().Location() != time.UTC {
		t.Error("dates came back changed")
	}
	k.Encryption = nil
	if _, err := k.ExportPEM(); err == nil {
		t.Error("exported a keyring without encryption keys")
	}
	k.Encryption = make([]*identity.EncryptionPrivateKey, identity.MaxEncryptionKeys+1)
	if _, err := k.ExportPEM(); err == nil {
		t.Error("exported too many encryption keys")
	}
}

func TestImportPEMRefuses(t *testing.T) {
	text, err := rotated().ExportPEM()
	if err != nil {
		t.Fatal(err)
	}
	blocks := decodeAll(text)
	join := func(blocks ...*pem.Block) []byte {
		var out bytes.Buffer
		for _, b := range blocks {
			_ = pem.Encode(&out, b)
		}
		return out.Bytes()
	}
	edit := func(i int, change func(*pem.Block)) []byte {
		changed := make([]*pem.Block, len(blocks))
		for j, b := range blocks {
			changed[j] = &pem.Block{Type: b.Type, Bytes: bytes.Clone(b.Bytes)}
		}
		change(changed[i])
		return join(changed...)
	}
	last := len(blocks) - 1
	tests := map[string][]byte{
		"nothing":              nil,
		"no header":            join(blocks[1:]...),
		"no storage key":       join(blocks[:last]...),
		"blocks swapped":       join(append([]*pem.Block{blocks[0], blocks[2], blocks[1]}, blocks[3:]...)...),
		"version 2":            edit(0, func(b *pem.Block) { b.Bytes[0] = 2 }),
		"no encryption keys":   edit(0, func(b *pem.Block) { b.Bytes = []byte{1, 0} }),
		"too many keys":        edit(0, func(b *pem.Block) { b.Bytes[1] = 17 }),
		"count too low":        edit(0, func(b *pem.Block) { b.Bytes[1] = 2 }),
		"cut header":           edit(0, func(b *pem.Block) { b.Bytes = b.Bytes[:5] }),
		"short storage key":    edit(last, func(b *pem.Block) { b.Bytes = b.Bytes[:31] }),
		"long storage key":     edit(last, func(b *pem.Block) { b.Bytes = append(b.Bytes, 0) }),
		"ML-KEM of other form": edit(4, func(b *pem.Block) { b.Bytes[0] ^= 1 }),
		"cut ML-KEM seed":      edit(4, func(b *pem.Block) { b.Bytes = b.Bytes[:len(b.Bytes)-1] }),
		"PEM header":           edit(1, func(b *pem.Block) { b.Headers = map[string]string{"Proc-Type": "4,ENCRYPTED"} }),
		"host key for RSA":     edit(1, func(b *pem.Block) { b.Bytes = blocks[2].Bytes }),
		"RSA for host key":     edit(2, func(b *pem.Block) { b.Bytes = blocks[1].Bytes }),
		"damaged RSA":          edit(1, func(b *pem.Block) { b.Bytes[len(b.Bytes)/2] ^= 1 }),
		"text behind":          append(bytes.Clone(text), "more"...),
	}
	for name, text := range tests {
		_, err := identity.ImportPEM(text)
		if !errors.Is(err, identity.ErrDamaged) {
			t.Errorf("%s: got %v, want ErrDamaged", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "PRIVATE KEY-") {
			t.Errorf("%s: the error holds key text", name)
		}
	}
}

func FuzzImportPEM(f *testing.F) {
	text, err := identitytest.Keyring(0).ExportPEM()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)/2])
	f.Add([]byte("-----BEGIN BYWAY KEY FILE-----\nAQE=\n-----END BYWAY KEY FILE-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := identity.ImportPEM(text)
		if err != nil {
			if !errors.Is(err, identity.ErrDamaged) {
				t.Errorf("refused with %v", err)
			}
			return
		}
		if _, err := k.ExportPEM(); err != nil {
			t.Errorf("imported, but does not export: %v", err)
		}
	})
}

func FuzzOpenKeyFile(f *testing.F) {
	f.Add([]byte("age-encryption.org/v1\n-> scrypt bm90IGEgcmVhbCBzYWx0ISE 1\nAAAA\n--- AAAA\n"))
	f.Add([]byte("-----BEGIN BYWAY KEY FILE-----\n"))
	dir := f.TempDir()
	dear := regexp.MustCompile(`scrypt \S+ \d\d`) // allowed up to 20, and then takes seconds
	f.Fuzz(func(t *testing.T, content []byte) {
		if dear.Match(content) {
			t.Skip("a work factor that costs time")
		}
		path := filepath.Join(dir, "fuzz.age")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Skip(err)
		}
		_, err := identity.OpenKeyFile(path, []byte("right"))
		if err != nil && !errors.Is(err, identity.ErrDamaged) && !errors.Is(err, identity.ErrWrongPassphrase) {
			t.Errorf("refused with %v", err)
		}
	})
}
