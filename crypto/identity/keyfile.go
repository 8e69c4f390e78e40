package identity

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"filippo.io/age"
)

const (
	// scryptWork is age's work factor for files we write: N=2^17, r=8, p=1 is what OWASP recommends, and opens in 0.4 s. One step
	// more would take the unlock of a one-shot program to 0.8 s.
	scryptWork = 17
	// scryptMaxWork bounds what a file may make us compute: 2^20 takes 3 s and 1 GiB.
	scryptMaxWork = 20
	// maxKeyFile is the largest key file in bytes; sixteen encryption keys need 45 KiB.
	maxKeyFile = 96 << 10

	ageMagic = "age-encryption.org/v1\n"
)

// What callers decide on. [fs.ErrNotExist] and [fs.ErrExist] come through as they are.
var (
	// ErrWrongPassphrase: the file is sealed, and not with this passphrase. A file damaged in the few bytes that
	// the passphrase is checked against looks the same.
	ErrWrongPassphrase = errors.New("wrong passphrase")
	// ErrPassphraseNeeded: the file is sealed, and no passphrase was given.
	ErrPassphraseNeeded = errors.New("passphrase needed")
	// ErrDamaged: the file is cut, altered, or not a key file. Only a backup helps.
	ErrDamaged = errors.New("key file is damaged")
	// ErrOpenToOthers: group or others may read or write the file, so its keys may have leaked.
	ErrOpenToOthers = errors.New("key file is open to other users")
)

// CreateKeyFile seals k under passphrase into a new file of mode 0600. It refuses to overwrite (fs.ErrExist) and returns when
// file and directory entry are on disk; a crash leaves either nothing or the whole file. A nil passphrase writes the keys in the clear, for
// machines that start alone; an empty one is refused. Sealing takes 0.4 s.
func CreateKeyFile(path string, k *Keyring, passphrase []byte) error {
	if _, err := os.Lstat(path); err == nil {
		// Checked again when the file gets its name; here it saves the work.
		return fmt.Errorf("create key file: %w", &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist})
	}
	if err := writeKeyFile(path, k, passphrase, linkNew); err != nil {
		return fmt.Errorf("create key file: %w", err)
	}
	return nil
}

// ReplaceKeyFile is CreateKeyFile over an existing file, for rotation and a new passphrase. A crash leaves the old file or the new one.
func ReplaceKeyFile(path string, k *Keyring, passphrase []byte) error {
	if err := writeKeyFile(path, k, passphrase, os.Rename); err != nil {
		return fmt.Errorf("replace key file: %w", err)
	}
	return nil
}

// linkNew gives the file its name only where nothing has it.
func linkNew(temp, path string) error {
	err := os.Link(temp, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	// Some file systems know no hard links. Then only this process's own check stands between two creators.
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	return os.Rename(temp, path)
}

func writeKeyFile(path string, k *Keyring, passphrase []byte, name func(temp, path string) error) error {
	content, err := sealKeyring(k, passphrase)
	if err != nil {
		return err
	}
	// A fixed name: what a crash left behind is removed, not gathered.
	temp := path + ".tmp"
	if err := os.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer func() { _ = os.Remove(temp) }()
	if err := writeSynced(temp, content); err != nil {
		return err
	}
	if err := name(temp, path); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

func sealKeyring(k *Keyring, passphrase []byte) ([]byte, error) {
	plain, err := k.ExportPEM()
	if err != nil {
		return nil, err
	}
	if passphrase == nil {
		return plain, nil
	}
	defer clear(plain)
	recipient, err := age.NewScryptRecipient(string(passphrase))
	if err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	recipient.SetWorkFactor(scryptWork)
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipient)
	if err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	if _, err := w.Write(plain); err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("seal keys: %w", err)
	}
	return sealed.Bytes(), nil
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

func syncDirectory(path string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be opened for that there
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = d.Close() }()
	return d.Sync()
}

// OpenKeyFile reads the keys of either form of file; for one in the clear the passphrase is ignored. Its errors wrap
// [ErrOpenToOthers], [ErrPassphraseNeeded], [ErrWrongPassphrase], [ErrDamaged] or what the file system said. Opening takes 0.4 s.
func OpenKeyFile(path string, passphrase []byte) (*Keyring, error) {
	content, err := readKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	k, err := openKeyring(content, passphrase)
	if err != nil {
		return nil, fmt.Errorf("open key file %s: %w", path, err)
	}
	return k, nil
}

// KeyFileNeedsPassphrase reports whether the file is sealed. Anything but a key file is [ErrDamaged].
func KeyFileNeedsPassphrase(path string) (bool, error) {
	content, err := readKeyFile(path)
	if err != nil {
		return false, fmt.Errorf("look at key file: %w", err)
	}
	switch {
	case bytes.HasPrefix(content, []byte(ageMagic)):
		return true, nil
	case bytes.HasPrefix(content, []byte("-----BEGIN "+blockHeader)):
		return false, nil
	}
	return false, fmt.Errorf("look at key file %s: %w", path, ErrDamaged)
}

func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s has mode %#o: %w", path, info.Mode().Perm(), ErrOpenToOthers)
	}
	content, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxKeyFile {
		return nil, fmt.Errorf("%s is over %d bytes: %w", path, maxKeyFile, ErrDamaged)
	}
	return content, nil
}

func openKeyring(content, passphrase []byte) (*Keyring, error) {
	if !bytes.HasPrefix(content, []byte(ageMagic)) {
		return ImportPEM(content)
	}
	if passphrase == nil {
		return nil, ErrPassphraseNeeded
	}
	if len(passphrase) == 0 {
		return nil, ErrWrongPassphrase // age takes none, so no file has it
	}
	recipient, err := age.NewScryptIdentity(string(passphrase))
	if err != nil {
		return nil, err
	}
	recipient.SetMaxWorkFactor(scryptMaxWork)
	plain, err := decryptAge(content, recipient)
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	return ImportPEM(plain)
}

func decryptAge(content []byte, recipient age.Identity) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(content), recipient)
	if mismatch, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		if len(mismatch.StanzaTypes) == 1 && mismatch.StanzaTypes[0] == "scrypt" {
			return nil, ErrWrongPassphrase
		}
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	plain, err := io.ReadAll(io.LimitReader(r, maxKeyFile))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return plain, nil
}
