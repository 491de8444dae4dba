package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"strconv"
)

const (
	warnLines = 400
	maxLines  = 450
)

// marker finds words that promise work instead of doing it. The pattern is
// split so that it does not find itself.
var marker = regexp.MustCompile(`\b(` + `TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)

// finding is one broken rule, or a warning of one about to break.
type finding struct {
	where   string // file:line, or a file alone
	text    string
	warning bool
}

func (f finding) String() string {
	if f.warning {
		return f.where + ": warning: " + f.text
	}
	return f.where + ": " + f.text
}

// inspectFile applies the rules that one file can break by itself. name is
// its slash-separated path below the module's root.
func inspectFile(name string, src []byte) ([]finding, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []finding
	add := func(pos token.Pos, format string, args ...any) {
		found = append(found, finding{
			where: fmt.Sprintf("%s:%d", name, fset.Position(pos).Line),
			text:  fmt.Sprintf(format, args...),
		})
	}
	for _, imp := range file.Imports {
		imported, err := strconv.Unquote(imp.Path.Value)
		if err != nil {
			return nil, err
		}
		if why := judgeImport(path.Dir(name), imported); why != "" {
			add(imp.Pos(), "%s", why)
		}
	}
	if ast.IsGenerated(file) {
		return found, nil
	}
	switch lines := bytes.Count(src, []byte("\n")); {
	case lines > maxLines:
		found = append(found, finding{where: name, text: fmt.Sprintf("%d lines: split it, %d is the most", lines, maxLines)})
	case lines > warnLines:
		found = append(found, finding{where: name, text: fmt.Sprintf("%d lines, %d is the most", lines, maxLines), warning: true})
	}
	for i, line := range bytes.Split(src, []byte("\n")) {
		if word := marker.Find(line); word != nil {
			found = append(found, finding{where: fmt.Sprintf("%s:%d", name, i+1), text: fmt.Sprintf("%s: do it, or file it as an issue", word)})
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if ok && (sel.Sel.Name == "SkipNow" || sel.Sel.Name == "Skip" && isTest(name)) && len(call.Args) == 0 {
			add(call.Pos(), "a skipped test says why: t.Skip(reason)")
		}
		return true
	})
	return found, nil
}

func isTest(name string) bool {
	ok, _ := path.Match("*_test.go", path.Base(name))
	return ok
}
