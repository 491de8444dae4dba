// Command house proves the rules of this repository that no linter knows: who
// may import whom, that the supervisor never holds the engine, that files stay
// small and packages say what they are for. It prints one line for each broken
// rule and exits 1 when there is any.
//
//	go -C tools run ./house ..
package main

import (
	"cmp"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: house ROOT")
		os.Exit(2)
	}
	found, err := inspect(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "house:", err)
		os.Exit(2)
	}
	broken := false
	for _, f := range found {
		fmt.Println(f)
		broken = broken || !f.warning
	}
	if broken {
		os.Exit(1)
	}
}

// inspect applies every rule to the module at root.
func inspect(root string) ([]finding, error) {
	found, err := inspectTree(os.DirFS(root))
	if err != nil {
		return nil, err
	}
	for _, binary := range free {
		reached, err := dependencies(root, binary)
		if err != nil {
			return nil, err
		}
		found = append(found, judgeFree(binary, reached)...)
	}
	slices.SortStableFunc(found, func(a, b finding) int { return cmp.Compare(a.where, b.where) })
	return found, nil
}

// inspectTree applies the rules about files and folders. It reads the files
// itself, so that no build constraint hides one.
func inspectTree(tree fs.FS) ([]finding, error) {
	var found []finding
	folders := map[string]*folder{}
	err := fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			base := path.Base(name)
			if name != "." && (name == "bin" || base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
				return fs.SkipDir
			}
			return nil
		case path.Ext(name) != ".go":
			return nil
		}
		src, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		more, err := inspectFile(name, src)
		if err != nil {
			return err
		}
		found = append(found, more...)
		dir := path.Dir(name)
		if folders[dir] == nil {
			folders[dir] = &folder{}
		}
		return folders[dir].add(name, src)
	})
	if err != nil {
		return nil, err
	}
	for dir, f := range folders {
		if f.undocumented() {
			found = append(found, finding{where: dir, text: "has no doc.go: say why the package exists and what may import it"})
		}
	}
	return found, nil
}

// folder gathers what the rule about package documentation needs.
type folder struct {
	command, generated, documented bool
}

func (f *folder) add(name string, src []byte) error {
	file, err := parser.ParseFile(token.NewFileSet(), name, src, parser.PackageClauseOnly|parser.ParseComments)
	if err != nil {
		return err
	}
	f.command = f.command || file.Name.Name == "main"
	f.generated = f.generated || ast.IsGenerated(file)
	f.documented = f.documented || path.Base(name) == "doc.go" && file.Doc != nil
	return nil
}

// undocumented tells a package without a doc.go from commands, which tell
// their purpose in main.go, and generated packages.
func (f *folder) undocumented() bool {
	return !f.documented && !f.command && !f.generated
}

// dependencies lists every package that a binary is built from.
func dependencies(root, binary string) ([]string, error) {
	cmd := exec.Command("go", "list", "-deps", "./"+binary)
	cmd.Dir = filepath.Clean(root)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil, fmt.Errorf("go list -deps ./%s: %s", binary, exit.Stderr)
	}
	return strings.Fields(string(out)), err
}

// judgeFree finds the engine among the packages of a binary that must not
// hold it.
func judgeFree(binary string, reached []string) []finding {
	var found []finding
	for _, pkg := range reached {
		if strings.HasPrefix(pkg+"/", engine+"/") {
			found = append(found, finding{where: binary, text: "is built from " + pkg + ": the supervisor must not hold the engine"})
		}
	}
	return found
}
