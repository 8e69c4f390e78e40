// Package crypto_test holds the whole module to what its cryptography promises.
package crypto_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// banned is what no file may name, by any import. RSA encryption by PKCS#1 v1.5 cannot be used without becoming an
// oracle; a PEM block encrypted the old way is not authenticated and its passphrase is hashed with MD5.
var banned = map[string]string{
	"EncryptPKCS1v15":           "use OAEP",
	"DecryptPKCS1v15":           "use OAEP",
	"DecryptPKCS1v15SessionKey": "use OAEP",
	"PKCS1v15DecryptOptions":    "use OAEP",
	"EncryptPEMBlock":           "use identity.CreateKeyFile",
	"DecryptPEMBlock":           "use identity.OpenKeyFile",
}

func TestBannedNames(t *testing.T) {
	files := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || strings.HasPrefix(entry.Name(), ".") && entry.Name() != ".."):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go"):
			return nil
		}
		files++
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, found := range bannedIn(file) {
			t.Errorf("%s: %s is banned: %s", set.Position(found.Pos()), found.Name, banned[found.Name])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 20 {
		t.Errorf("looked at only %d files: is this still the module?", files)
	}
}

func bannedIn(file *ast.File) []*ast.Ident {
	var found []*ast.Ident
	ast.Inspect(file, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && banned[id.Name] != "" {
			found = append(found, id)
		}
		return true
	})
	return found
}

// TestBannedNamesAreFound shows that the ban sees through renamed and dot imports.
func TestBannedNamesAreFound(t *testing.T) {
	for name, source := range map[string]string{
		"plain":   `package p; import "crypto/rsa"; var _ = rsa.EncryptPKCS1v15`,
		"renamed": `package p; import r "crypto/rsa"; var _ = r.DecryptPKCS1v15`,
		"dot":     `package p; import . "crypto/rsa"; var _ = DecryptPKCS1v15SessionKey`,
		"options": `package p; import "crypto/rsa"; var _ rsa.PKCS1v15DecryptOptions`,
		"pem":     `package p; import "crypto/x509"; func f() { x509.EncryptPEMBlock(nil, "", nil, nil, 0) }`,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "p.go", source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if len(bannedIn(file)) != 1 {
			t.Errorf("%s: not found", name)
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "p.go", `package p; import "crypto/rsa"; var _ = rsa.EncryptOAEP`, parser.SkipObjectResolution)
	if err != nil || len(bannedIn(file)) != 0 {
		t.Errorf("OAEP is banned, %v", err)
	}
}
