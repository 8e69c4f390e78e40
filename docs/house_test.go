package docs_test

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The sizes that keep a file a chapter and a function a thought.
const (
	maxFileLines     = 600
	maxFunctionLines = 80
)

func TestSizes(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.generated {
			continue
		}
		if f.lines > maxFileLines {
			t.Errorf("%s has %d lines; at most %d are allowed", f.name, f.lines, maxFileLines)
		}
		if f.isTest() {
			continue // a table of cases may be long
		}
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1; n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines; at most %d are allowed", f.name, fn.Name.Name, n, maxFunctionLines)
			}
		}
	}
}

func TestPackageComments(t *testing.T) {
	for name, p := range packages(goFiles(t)) {
		if !p.doc {
			t.Errorf("package %s has no package comment", name)
		}
	}
}

// The words are put together here so that this file does not hold them.
var promises = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b|not imple` + `mented|unimple` + `mented`)

func TestNoPromises(t *testing.T) {
	walk(t, func(name string) {
		switch path.Ext(name) {
		case ".go", ".md", ".mjs", ".proto", ".sql", ".yml", ".txt", "":
		default:
			return
		}
		if strings.HasSuffix(name, ".pb.go") || name == "LICENSE" {
			return
		}
		for i, l := range textLines(t, name) {
			if w := promises.FindString(l); w != "" {
				t.Errorf("%s:%d: %q promises work instead of doing it", name, i+1, w)
			}
		}
	})
}

func TestTopLevel(t *testing.T) {
	want := []string{"CHANGELOG.md", "LICENSE", "Makefile", "README.md", "cmd", "crypto", "docs", "go.mod", "go.sum", "peer", "rendezvous"}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !ignored(t, e.Name()) {
			got = append(got, e.Name())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the top level holds\n%v, want\n%v", got, want)
	}
}

var (
	directRequire = regexp.MustCompile(`^\t(?:require )?(\S+) v\S+$`)
	reasonRow     = regexp.MustCompile("^\\| `([^`]+)` \\| (\\S.*) \\|$")
)

func TestEveryDependencyHasAReason(t *testing.T) {
	reasons := map[string]bool{}
	for _, l := range textLines(t, "docs/decisions/dependencies.md") {
		if m := reasonRow.FindStringSubmatch(l); m != nil {
			reasons[m[1]] = true
		}
	}
	for _, l := range textLines(t, "go.mod") {
		m := directRequire.FindStringSubmatch(l) // a line that ends in "// indirect" does not match
		if m == nil {
			continue
		}
		if !reasons[m[1]] {
			t.Errorf("%s is a direct dependency without a line in docs/decisions/dependencies.md", m[1])
		}
		delete(reasons, m[1])
	}
	for r := range reasons {
		t.Errorf("docs/decisions/dependencies.md gives a reason for %s, which is no direct dependency", r)
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)`)

func TestLinksLeadSomewhere(t *testing.T) {
	walk(t, func(name string) {
		if path.Ext(name) != ".md" {
			return
		}
		for i, l := range textLines(t, name) {
			for _, m := range link.FindAllStringSubmatch(l, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(path.Join(path.Dir(name), m[1])))); err != nil {
					t.Errorf("%s:%d: the link to %s leads nowhere", name, i+1, m[1])
				}
			}
		}
	})
}

var (
	citedTest   = regexp.MustCompile("`((?:Test|Fuzz)[A-Z][A-Za-z0-9]*)`")
	definedTest = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

func TestCitedTestsExist(t *testing.T) {
	defined := map[string]bool{}
	walk(t, func(name string) {
		if strings.HasSuffix(name, "_test.go") {
			for _, m := range definedTest.FindAllStringSubmatch(strings.Join(textLines(t, name), "\n"), -1) {
				defined[m[1]] = true
			}
		}
	})
	walk(t, func(name string) {
		if path.Ext(name) != ".md" {
			return
		}
		for i, l := range textLines(t, name) {
			for _, m := range citedTest.FindAllStringSubmatch(l, -1) {
				if !defined[m[1]] {
					t.Errorf("%s:%d cites %s, which does not exist", name, i+1, m[1])
				}
			}
		}
	})
}
