// Package docs_test holds the repository to what its documents say.
package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/byway-chat/byway/"

// pkg is one package of ours.
type pkg struct {
	path    string // below the module
	doc     bool   // has a package comment
	imports map[string]bool
}

// sourceFile is one Go file of ours, parsed.
type sourceFile struct {
	name      string // slash path below the root
	lines     int
	generated bool
	syntax    *ast.File
	set       *token.FileSet
}

// isTest reports whether the file is only part of tests.
func (f sourceFile) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// root is the top of the repository; the tests of docs run one below it.
const root = ".."

// ignored reports whether .gitignore keeps name, a path below the root, out of the repository.
func ignored(t *testing.T, name string) bool {
	t.Helper()
	for _, l := range textLines(t, ".gitignore") {
		l = strings.Trim(l, "/")
		if match, err := path.Match(l, path.Base(name)); l == name || err == nil && match {
			return true
		}
	}
	return false
}

// textLines returns the lines of a file below the root.
func textLines(t *testing.T, name string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimRight(string(b), "\n"), "\n")
}

// walk calls visit for every file of the repository.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		switch {
		case name == ".":
		case d.IsDir() && (strings.HasPrefix(name, ".git") || ignored(t, name)):
			return filepath.SkipDir
		case d.Type().IsRegular() && !ignored(t, name):
			visit(name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// goFiles parses every Go file of the repository.
func goFiles(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		f := sourceFile{name: name, lines: len(textLines(t, name)), set: token.NewFileSet()}
		syntax, err := parser.ParseFile(f.set, filepath.Join(root, name), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		f.syntax, f.generated = syntax, ast.IsGenerated(syntax)
		files = append(files, f)
	})
	return files
}

// packages returns our packages, without their test files.
func packages(files []sourceFile) map[string]*pkg {
	all := map[string]*pkg{}
	for _, f := range files {
		if f.isTest() {
			continue
		}
		dir := path.Dir(f.name)
		p := all[dir]
		if p == nil {
			p = &pkg{path: dir, imports: map[string]bool{}}
			all[dir] = p
		}
		p.doc = p.doc || f.syntax.Doc != nil
		for _, i := range f.syntax.Imports {
			if ours, ok := strings.CutPrefix(strings.Trim(i.Path.Value, `"`), module); ok {
				p.imports[ours] = true
			}
		}
	}
	return all
}

// row is one line of the import table.
type row struct {
	testsOnly bool
	may       []string
}

var (
	tableRow = regexp.MustCompile("^\\| `([^`]+)` \\|([^|]*)\\|([^|]*)\\|$")
	quoted   = regexp.MustCompile("`([^`]+)`")
)

func importTable(t *testing.T) (table map[string]row, order []string) {
	t.Helper()
	table = map[string]row{}
	for _, l := range textLines(t, "docs/architecture.md") {
		m := tableRow.FindStringSubmatch(l)
		if m == nil {
			continue
		}
		r := row{testsOnly: strings.Contains(m[2], "(tests only)")}
		for _, q := range quoted.FindAllStringSubmatch(m[3], -1) {
			r.may = append(r.may, q[1])
		}
		if _, twice := table[m[1]]; twice {
			t.Errorf("architecture.md has two rows for %s", m[1])
		}
		table[m[1]] = r
		order = append(order, m[1])
	}
	if len(order) == 0 {
		t.Fatal("architecture.md has no import table")
	}
	return table, order
}

func TestImportsFollowTheTable(t *testing.T) {
	table, order := importTable(t)
	all := packages(goFiles(t))
	for _, name := range order {
		p, r := all[name], table[name]
		if p == nil {
			t.Errorf("architecture.md has a row for %s, which is no package", name)
			continue
		}
		for i := range p.imports {
			if !slices.Contains(r.may, i) {
				t.Errorf("%s imports %s, which its row in architecture.md does not allow", name, i)
			}
			if table[i].testsOnly && !r.testsOnly {
				t.Errorf("%s imports %s, which is for tests only", name, i)
			}
		}
		for _, m := range r.may {
			if !p.imports[m] {
				t.Errorf("architecture.md lets %s import %s, which it does not; take it out", name, m)
			}
			if slices.Index(order, m) > slices.Index(order, name) {
				t.Errorf("architecture.md lets %s import %s, which stands below it", name, m)
			}
		}
	}
	for name := range all {
		if _, ok := table[name]; !ok {
			t.Errorf("package %s has no row in architecture.md", name)
		}
	}
}
